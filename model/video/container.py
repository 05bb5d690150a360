"""Open a media container safely: bounded, and without access to anything but the source itself."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError

from model.video.errors import NO_ANSWER, VideoError
from model.video.source import LIVE_SCHEMES, SCHEME_PROTOCOLS, ByteStream, is_url, scheme_of
from model.video.source_errors import source_error

# The tallest 8K format (8192 x 4352). Larger frames are rejected before memory is allocated for them.
MAX_PIXELS = 8192 * 4352
# Containers of animations, which are still images if they have only one frame.
STILL_OR_MOVING = ("mjpeg", "smjpeg", "gif", "apng")
# Streams without a container, which state no length.
RAW_STREAMS = ("mpegvideo", "m4v", "h264", "hevc", "vvc", "av1", "obu", "vc1", "h261", "h263", "cavsvideo")
# Containers that hold their own frames. Playlists, image sequences and scripts are left out: they name other files.
VIDEO_FORMATS = (
    *("mov", "matroska", "mpegts", "avi", "flv", "mpeg", "ogg", "asf", "ivf", "mxf", "nut", "rm", "dv", "yuv4mpegpipe"),
    *RAW_STREAMS,
    # Camera and broadcast recorders.
    *("dhav", "hxvs", "ifv", "iv8", "luodat", "lmlm4", "mxg", "wtv", "ty", "pva", "gxf", "live_flv", "kux"),
    *STILL_OR_MOVING,
)
# Sound files may hold a cover image but no video; an error about that is clearer than one about an unsupported format.
AUDIO_FORMATS = ("mp3", "wav", "flac", "aac", "amr", "ac3", "eac3", "aiff")
FILE_FORMATS = ",".join((*VIDEO_FORMATS, *AUDIO_FORMATS))
URL_FORMATS = FILE_FORMATS + ",hls,mpjpeg,rtsp"
# FFmpeg rejects segments without a usual extension, so that no playlist leads it to other files. Since protocols and
# formats are restricted above, segments may have any name here.
HLS_OPTIONS = {"extension_picky": "0", "allowed_segment_extensions": "ALL", "allowed_extensions": "ALL"}
# With and without boundaries between images; FFmpeg invents the timestamps of both.
MOTION_JPEG = frozenset({"mpjpeg", "mjpeg"})
# By default FFmpeg reads up to 5 s of a stream before it returns the first frame.
LIVE_OPTIONS = {"analyzeduration": "1000000", "fpsprobesize": "0"}
# AVFMT_FLAG_GENPTS of FFmpeg.
GENERATE_PTS = 0x0001
# Metadata that is not UTF-8 must not make a video unreadable. PyAV 18 has this argument for that; PyAV 19 removed it
# and keeps such bytes as surrogate escapes.
UNDECODABLE_METADATA: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
)


def open_container(
    source: str | ByteStream, options: Mapping[str, str], timeout_s: float, file_format: str | None = None
) -> InputContainer:
    """Open a path, a URL or a stream of bytes and read its header.

    Args:
        options: options of FFmpeg, which override the defaults.
        file_format: the format to read, if FFmpeg does not recognise it.

    Raises:
        VideoError: the source cannot be opened.
    """
    defaults = {
        "max_pixels": str(MAX_PIXELS),
        "protocol_whitelist": "file",
        "format_whitelist": FILE_FORMATS,
        # A new version of an MPEG-TS program may move the video to another PID.
        "merge_pmt_versions": "1",
    }
    if is_url(source):
        timeout_us = str(int(timeout_s * 1e6))
        defaults |= {
            "protocol_whitelist": SCHEME_PROTOCOLS.get(scheme_of(source), SCHEME_PROTOCOLS["https"]),
            "format_whitelist": URL_FORMATS,
            "rw_timeout": timeout_us,
            **HLS_OPTIONS,
        }
    if scheme_of(source) in LIVE_SCHEMES or not isinstance(source, str):
        defaults |= LIVE_OPTIONS
    all_options = defaults | dict(options)
    began_s = time.monotonic()
    try:
        if isinstance(source, str) and not is_url(source):
            return _open_path(Path(source), all_options, timeout_s)
        return _open(source, all_options, timeout_s, file_format)
    except FFmpegError as error:
        if is_url(source) and time.monotonic() - began_s >= timeout_s:
            # FFmpeg does not always report that it was interrupted.
            raise VideoError("source_timeout", NO_ANSWER) from None
        raise source_error(source, error) from None


def _open_path(path: Path, options: dict[str, str], timeout_s: float) -> InputContainer:
    try:
        return _open(f"file:{path}", options, timeout_s)
    except FFmpegError:
        if not path.suffix or not path.is_file():
            raise
        # FFmpeg may trust a wrong suffix more than the content, so open the file under a name without a suffix.
        with path.open("rb") as file:
            return _open(f"file:/proc/self/fd/{file.fileno()}", options, timeout_s)


def _open(
    address: str | ByteStream, options: dict[str, str], timeout_s: float, file_format: str | None = None
) -> InputContainer:
    container: InputContainer = av.open(
        address, "r", format=file_format, options=options, timeout=(timeout_s, timeout_s), **UNDECODABLE_METADATA
    )
    # PyAV asks FFmpeg to invent missing presentation timestamps, which then follow the order of decoding.
    container.flags &= ~GENERATE_PTS
    return container


def is_live(source: str | ByteStream, container: InputContainer, *, stated: bool | None) -> bool:
    """Return whether an open source is live, which means that it cannot be paused or rewound.

    A source with a camera's scheme always is. Otherwise `stated`, the caller's choice, decides. Without it, Motion JPEG
    is live, as are a playlist without an end and an HTTP response that does not state its length.
    """
    if scheme_of(source) in LIVE_SCHEMES:
        return True
    if stated is not None or not is_url(source):
        return bool(stated)
    if container.format.name == "hls":
        return container.duration is None
    return container.format.name == "mpjpeg" or not _has_length(container)


def has_ended(container: InputContainer) -> bool:
    """Return whether a playlist states its end."""
    return container.format.name == "hls" and container.duration is not None


def states_size(container: InputContainer) -> bool:
    """Return whether a source states how many bytes it has; the parts of a playlist need not."""
    return container.format.name == "hls" or container.size >= 0


def is_fragmented(container: InputContainer) -> bool:
    """Return whether a source is a fragmented MP4, whose header holds no frames, or may consist of such segments."""
    is_mp4 = container.format.name.startswith("mov")
    return container.format.name == "hls" or (is_mp4 and not any(s.frames for s in container.streams.video))


def _has_length(container: InputContainer) -> bool:
    """Return whether a source states its length, in bytes or in seconds."""
    # For a fragmented MP4, FFmpeg mistakes the length of the first fragments for its duration.
    return states_size(container) or (bool(container.duration) and not is_fragmented(container))
