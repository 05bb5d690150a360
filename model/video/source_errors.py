"""Translates the errors of FFmpeg that say why a source cannot be opened or read."""

import errno
from pathlib import Path

import av.error
from av.error import FFmpegError

from model.video.errors import NO_ANSWER, VideoError
from model.video.source import ByteStream, is_url, scheme_of

NO_PUSHED_VIDEO = "The pushed stream is not a readable video. Push MPEG-TS, Matroska, WebM or fragmented MP4."
ONLY_UDP = 'The camera does not send over TCP. Submit it with `"transport": "udp"` in `source`.'
NOT_PUBLISHED = (
    "The server answers, but does not send the stream. Check that it is published, its path and, if the server requires"
    " them, the user name and password."
)
REFUSED = "The server refused access. Check the user name, password or token."
REFUSED_BY_CAMERA = (
    "The camera refused access. Check the user name and password. If they are right, the camera may require digest"
    " authentication with SHA-256, which is not supported: allow MD5 or Basic authentication in its settings."
)
UNKNOWN_SCHEME = (
    "The scheme of this address is not supported. Check the part before ://, or download the video and send the file."
)


def source_error(source: str | ByteStream, error: FFmpegError) -> VideoError:
    """Translate an error of FFmpeg, whose own text may hold the address."""
    match error:
        case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
            is_camera = scheme_of(source) in ("rtsp", "rtsps")
            return VideoError("source_unauthorized", REFUSED_BY_CAMERA if is_camera else REFUSED)
        case av.error.HTTPNotFoundError():
            return VideoError("source_unreachable", "The server answers, but the path was not found. Check the path.")
        case av.error.HTTPError() | av.error.HTTPClientError():
            return VideoError(
                "source_unreachable", "The server answered with an error. Check the address, or try again later."
            )
        case av.error.ExitError() | av.error.TimeoutError():
            return VideoError("source_timeout", NO_ANSWER)
        case av.error.ProtocolNotFoundError():
            return VideoError("source_unsupported", UNKNOWN_SCHEME)
        case av.error.FileNotFoundError() | av.error.PermissionError() | av.error.IsADirectoryError() if is_url(source):
            return VideoError("source_unreachable", NOT_PUBLISHED)
        case av.error.UnknownError() if scheme_of(source) in ("rtmp", "rtmps"):
            # FFmpeg's errors for a server that rejects the application or requires a password.
            return VideoError("source_unreachable", NOT_PUBLISHED)
        case av.error.FileNotFoundError() | av.error.PermissionError() | av.error.IsADirectoryError():
            return VideoError("source_unreachable", "The file cannot be read. Check that it exists and is a video.")
    if not isinstance(source, str):
        return VideoError("source_unsupported", NO_PUSHED_VIDEO)
    if is_url(source):
        if error.errno == errno.EPROTONOSUPPORT:
            return VideoError("source_unsupported", ONLY_UDP)
        if isinstance(error, OSError):
            return VideoError("source_unreachable", "The source cannot be reached. Check the host, port and network.")
        return VideoError("source_unsupported", "The source is not a video in a supported format. Check the address.")
    return _file_error(Path(source))


def _file_error(path: Path) -> VideoError:
    """Say why FFmpeg finds no video in a file: it is empty, an MP4 without its index, or something else."""
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        return VideoError("source_unsupported", "The file is empty. Send a video.")
    if head[4:8] == b"ftyp":
        return VideoError("decode_failed", "The MP4 file is damaged or cut before its index. Send the whole file.")
    return VideoError("source_unsupported", "The file is not a video in a supported format. Send MP4, MKV, WebM or TS.")
