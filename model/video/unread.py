"""Find what FFmpeg silently skips at the end of a file: recordings that were joined byte by byte."""

from pathlib import Path

# For these containers, FFmpeg reads one recording, or two, and the last packet shows where it stopped. Others, such as
# transport streams, are read to their end.
READ_IN_PART = frozenset({"apng", "asf", "flv", "matroska,webm"})
# An index may follow the last frame.
MIN_SHARE, MIN_BYTES = 0.1, 20_000
UNREAD = (
    "The last {:.0%} of the file were not analysed: another recording was appended to it byte by byte. Submit the"
    " recordings separately."
)
BOX_BYTES, LONG_BOX_BYTES = 8, 16
MAX_BOXES = 100_000
IVF_START = b"DKIF\x00\x00\x20\x00"
WTV_START = bytes.fromhex("b7d800203749da11a64e0007e95ead8d")
# Where the header of a WTV states its length, in sectors.
WTV_SECTORS_AT, WTV_SECTOR_BYTES = 0x5C, 4096


def unread_part(path: Path, format_name: str, *, last_at: int, read_until: int) -> str | None:
    """Return a sentence about the part of a file that FFmpeg skipped although it reported the end, or None.

    Args:
        format_name: FFmpeg's name of its container.
        last_at: the position in bytes at which the last packet of the video begins.
        read_until: the position in bytes at which the last packet ended.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        # Deleted while it was read, as happens to an upload when its session is deleted.
        return None
    if format_name.startswith("mov"):
        begins_at = _second_movie_at(path)
        if read_until > begins_at:
            # Its fragments were read.
            begins_at = 0
    elif format_name == "ivf":
        # FFmpeg takes the second header for that of a frame, which is larger than the file.
        begins_at = last_at if _has_at(path, last_at, IVF_START) else 0
    elif format_name == "wtv":
        begins_at = _second_wtv_at(path)
    elif format_name in READ_IN_PART:
        begins_at = read_until if size - read_until > max(MIN_SHARE * size, MIN_BYTES) else 0
    else:
        return None
    return UNREAD.format((size - begins_at) / size) if begins_at else None


def _has_at(path: Path, at: int, expected: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(len(expected)) == expected


def _second_wtv_at(path: Path) -> int:
    """Return where a second WTV begins, after the length that the first states; 0 if there is only one."""
    with path.open("rb") as file:
        file.seek(WTV_SECTORS_AT)
        ends_at = int.from_bytes(file.read(4), "little") * WTV_SECTOR_BYTES
    return ends_at if _has_at(path, ends_at, WTV_START) else 0


def _second_movie_at(path: Path) -> int:
    """Return where a second movie begins among the boxes of an MP4; 0 if there is only one."""
    with path.open("rb") as file:
        at, starts, movies = 0, [], 0
        for _ in range(MAX_BOXES):
            file.seek(at)
            head = file.read(LONG_BOX_BYTES)
            if len(head) < BOX_BYTES:
                break
            length, kind = int.from_bytes(head[:4]), head[4:8]
            if kind == b"ftyp":
                starts.append(at)
            movies += kind == b"moov"
            if length == 1:
                length = int.from_bytes(head[8:16])
            if length < BOX_BYTES:
                break
            at += length
    return starts[1] if movies > 1 and len(starts) > 1 else 0
