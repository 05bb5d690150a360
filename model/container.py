"""Open a media container safely, choose its video stream, and say in one stable code why it cannot be used."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol, TypeGuard

import av
import av.error
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# 8K at its tallest (8192 x 4352); larger pictures are refused before they cost memory.
MAX_PIXELS = 8192 * 4352
# Containers that hold their own pictures. Playlists, image sequences and scripts, which name other files, are not here.
FILE_FORMATS = (
    "mov,matroska,mpegts,avi,flv,mpeg,mpegvideo,ogg,asf,ivf,mxf,nut,m4v,h264,hevc,av1,obu,yuv4mpegpipe,rm,dv,"
    "mp3,wav,flac,aac,amr,ac3,eac3,aiff"
)
URL_FORMATS = FILE_FORMATS + ",hls,mpjpeg,rtsp"
URL_PROTOCOLS = "http,https,tls,tcp,crypto"
# What comes from there plays on without us, whatever it says of itself.
LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "srt"})
# FFmpeg by itself reads up to 5 s of a stream before it shows the first picture.
LIVE_OPTIONS = {"analyzeduration": "1000000", "fpsprobesize": "0"}
STILL_IMAGE_BRANDS = frozenset({"avif", "heic", "heix", "mif1"})
# FFmpeg guesses absurd rates (90000 Hz) for streams that state none.
MAX_RATE_HZ = 1000.0

NO_ANSWER = "The source did not answer in time. Check that it is up and reachable."
NO_PUSHED_VIDEO = (
    "What was pushed is not a video that can be read as it comes. Push MPEG-TS, Matroska, WebM or fragmented MP4."
)
NO_DECODER = "There is no decoder for this video's codec. Send it as H.264."

VideoErrorCode = Literal[
    "source_unreachable",
    "source_unauthorized",
    "source_timeout",
    "source_unsupported",
    "no_video_stream",
    "decode_failed",
    "limit_exceeded",
    "internal",
]


class VideoError(Exception):
    """A video that cannot be used. `code` is a session's failure code; `detail` says what to do, never the address."""

    def __init__(self, code: VideoErrorCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class VideoInfo:
    """What a stream says of itself. Width and height are as displayed; `rotation_deg` is clockwise and was applied.

    A `live` one plays on without us: a camera or a broadcast.
    """

    codec: str
    width: int
    height: int
    rate_hz: float | None
    duration_s: float | None
    rotation_deg: int
    live: bool = False


class ByteStream(Protocol):
    """A video that comes as bytes, front to back. What `read` raises comes out of the decoding that asked for them."""

    def read(self, max_bytes: int, /) -> bytes:
        """At least one byte; none at the end of the video."""


def is_url(source: str | ByteStream) -> TypeGuard[str]:
    """Whether a source is an address rather than a path."""
    return isinstance(source, str) and "://" in source


def scheme_of(source: str | ByteStream) -> str:
    """The scheme of an address, in small letters; empty for a path."""
    return source.partition("://")[0].lower() if is_url(source) else ""


def is_live(source: str | ByteStream, container: InputContainer) -> bool:
    """Whether an open source is a camera or a broadcast: by its scheme, motion JPEG, or a playlist without an end."""
    if scheme_of(source) in LIVE_SCHEMES or container.format.name == "mpjpeg":
        return True
    return container.format.name == "hls" and container.duration is None


def open_container(source: str | ByteStream, options: Mapping[str, str], timeout_s: float) -> InputContainer:
    """Open a path, a URL or a stream of bytes and read its header. Raises VideoError.

    `options` are FFmpeg's and win over the defaults.
    """
    defaults = {"max_pixels": str(MAX_PIXELS), "protocol_whitelist": "file", "format_whitelist": FILE_FORMATS}
    if is_url(source):
        timeout_us = str(int(timeout_s * 1e6))
        defaults |= {"protocol_whitelist": URL_PROTOCOLS, "format_whitelist": URL_FORMATS, "rw_timeout": timeout_us}
    if scheme_of(source) in LIVE_SCHEMES or not isinstance(source, str):
        defaults |= LIVE_OPTIONS
    address = f"file:{source}" if isinstance(source, str) and not is_url(source) else source
    began_s = time.monotonic()
    try:
        return av.open(
            address,
            "r",
            options=defaults | dict(options),
            timeout=(timeout_s, timeout_s),
            metadata_errors="replace",
        )
    except FFmpegError as error:
        if is_url(source) and time.monotonic() - began_s >= timeout_s:
            # FFmpeg does not always say that it was interrupted.
            raise VideoError("source_timeout", NO_ANSWER) from None
        raise source_error(source, error) from None


def choose_stream(container: InputContainer) -> VideoStream:
    """The first video stream that is not a cover picture, set to decode on one thread. Raises VideoError."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams and container.streams.data and container.format.name == "rtsp":
        raise VideoError("source_unsupported", NO_DECODER)
    if not streams:
        raise VideoError("no_video_stream", "The source has no video stream. Send one that has pictures.")
    stream = streams[0]
    if container.metadata.get("major_brand") in STILL_IMAGE_BRANDS:
        raise VideoError("source_unsupported", "The source is a still image. Send a video.")
    if stream.codec_context is None:
        raise VideoError("source_unsupported", NO_DECODER)
    if stream.width * stream.height > MAX_PIXELS:
        size = f"{stream.width} x {stream.height}"
        raise VideoError("limit_exceeded", f"Pictures of {size} are too large. Send at most 8192 x 4352.")
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def probe(
    source: str | ByteStream, container: InputContainer, stream: VideoStream, picture: VideoFrame, *, live: bool
) -> VideoInfo:
    """What is known of a stream once a picture of it is decoded."""
    rotation_deg = -90 * round(picture.rotation / 90) % 360
    width, height = picture.width, picture.height
    if rotation_deg in (90, 270):
        width, height = height, width
    duration_s = None
    # Of what comes as bytes it may be the length of the first fragment.
    if isinstance(source, str) and not live:
        duration_s = container.duration / av.time_base if container.duration else None
        if stream.duration and stream.time_base:
            duration_s = float(stream.duration * stream.time_base)
    codec = stream.codec_context.codec.name
    return VideoInfo(codec, width, height, plausible_rate_hz(stream.average_rate), duration_s, rotation_deg, live)


def plausible_rate_hz(rate: Fraction | None) -> float | None:
    """A stated frame rate in Hz, or None where it is missing, zero or absurd."""
    return float(rate) if rate is not None and 0 < rate <= MAX_RATE_HZ else None


def source_error(source: str | ByteStream, error: FFmpegError) -> VideoError:
    """The stable code and sentence for what FFmpeg says of a source; its own text may hold the address."""
    match error:
        case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
            return VideoError(
                "source_unauthorized", "The server refused access. Check the user name, password or token."
            )
        case av.error.HTTPNotFoundError():
            return VideoError("source_unreachable", "The server answers, but the path was not found. Check the path.")
        case av.error.HTTPError() | av.error.HTTPClientError():
            return VideoError("source_unreachable", "The server answered with an error. Check the address, try later.")
        case av.error.ExitError() | av.error.TimeoutError():
            return VideoError("source_timeout", NO_ANSWER)
        case av.error.ProtocolNotFoundError():
            return VideoError(
                "source_unsupported", "This kind of address is not supported; GET /v1/capabilities says which are."
            )
        case av.error.FileNotFoundError() | av.error.PermissionError() | av.error.IsADirectoryError():
            return VideoError("source_unreachable", "The file cannot be read. Check that it exists and is a video.")
    if not isinstance(source, str):
        return VideoError("source_unsupported", NO_PUSHED_VIDEO)
    if is_url(source):
        if isinstance(error, OSError):
            return VideoError("source_unreachable", "The source cannot be reached. Check the host, port and network.")
        return VideoError("source_unsupported", "The source is not a video in a supported format. Check the address.")
    return _file_error(Path(source))


def _file_error(path: Path) -> VideoError:
    """Why FFmpeg finds no video in a file: it is empty, an MP4 without its index, or something else."""
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        return VideoError("source_unsupported", "The file is empty. Send a video.")
    if head[4:8] == b"ftyp":
        return VideoError("decode_failed", "The MP4 file is damaged or cut before its index. Send the whole file.")
    return VideoError("source_unsupported", "The file is not a video in a supported format. Send MP4, MKV, WebM or TS.")
