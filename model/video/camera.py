"""Open a camera (RTSP over TCP) so that each frame is available once its last packet has arrived."""

from collections.abc import Mapping

from av.container import InputContainer

from model.video.connections import open_sockets
from model.video.container import open_container
from model.video.errors import VideoError
from model.video.rtp_frames import NAL_UNITS
from model.video.rtp_marks import RtpMarks
from model.video.source import ByteStream, scheme_of

# FFmpeg then returns the content of each RTP packet, and reads only one packet before the stream is open.
UNPARSED = {"fflags": "+noparse", "probesize": "32"}


def is_unencrypted_camera(source: str | ByteStream, options: Mapping[str, str]) -> bool:
    """Return whether a source is RTSP over TCP, whose packets can be seen on its connection."""
    return scheme_of(source) == "rtsp" and options.get("rtsp_transport") == "tcp"


def open_unparsed(
    source: str | ByteStream, options: Mapping[str, str], timeout_s: float
) -> tuple[InputContainer, RtpMarks | None] | None:
    """Open a camera without FFmpeg's parser. Returns None if it must be opened with the parser.

    Raises:
        VideoError: the camera cannot be opened.
    """
    opened_before = open_sockets()
    try:
        container = open_container(source, {**options, **UNPARSED}, timeout_s)
    except VideoError as error:
        # Also if neither the description nor the first packet has the codec's parameters.
        if error.code != "source_unsupported":
            raise
        return None
    codecs = {stream.codec_context.name for stream in container.streams.video if stream.codec_context is not None}
    if codecs <= NAL_UNITS.keys():
        return container, RtpMarks.find(opened_before, timeout_s)
    container.close()
    return None
