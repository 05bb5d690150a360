"""Find what FFmpeg silently skips at the end of a file: recordings that were joined byte by byte."""

from pathlib import Path

# Of these containers FFmpeg reads one recording, or two. Others, such as transport streams, are read to their end.
JOINED_UNREAD = frozenset({"apng", "asf", "flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"})
# An index may follow the last frame.
MIN_SHARE, MIN_BYTES = 0.1, 20_000
UNREAD = (
    "The last {:.0%} of the file were not analysed: another recording was appended to it byte by byte. Submit the"
    " recordings separately."
)
BOX_BYTES, LONG_BOX_BYTES = 8, 16
MAX_BOXES = 100_000


def unread_part(path: Path, format_name: str, read_until: int) -> str | None:
    """Return a sentence about the part of a file that FFmpeg skipped although it reported the end, or None.

    Args:
        format_name: FFmpeg's name of its container.
        read_until: the position in bytes at which the last packet ended.
    """
    if format_name not in JOINED_UNREAD:
        return None
    size = path.stat().st_size
    if format_name.startswith("mov"):
        begins_at = _second_movie_at(path)
        return UNREAD.format((size - begins_at) / size) if begins_at else None
    unread = size - read_until
    return UNREAD.format(unread / size) if unread > max(MIN_SHARE * size, MIN_BYTES) else None


def _second_movie_at(path: Path) -> int:
    """Return where a second movie begins among the boxes of an MP4; 0 if there is one only."""
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
