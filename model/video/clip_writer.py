"""Write packets of one video stream, unchanged, as a fragmented MP4 that browsers play."""

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import av
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from model.video.errors import VideoError

# Codecs that MP4 can hold and browsers may play. HEVC plays if the system has a decoder for it.
PLAYABLE_CODECS = frozenset({"h264", "hevc", "av1", "vp9"})
# Browsers decode H.264 only with 8 bits and half the colour resolution.
PLAYABLE_H264 = frozenset({"yuv420p", "yuvj420p", "nv12"})
NOT_PLAYABLE = "There are no clips of {} video, because browsers do not play it in MP4. Convert the video to H.264."
NO_TIMESTAMPS = (
    "The video does not state when its frames are shown, so it has no clips. Send it as MP4, Matroska or MPEG-TS."
)
FRAGMENT_S = 1.0
_OPTIONS = {
    # The header is written with the first fragment: by then it is known how many frames are shown out of order.
    "movflags": "frag_keyframe+delay_moov+default_base_moof+skip_trailer",
    "flush_packets": "1",
}


class Sink(Protocol):
    """The destination of a clip, which is written from beginning to end."""

    def write(self, data: bytes, /) -> int:
        """Take all of the data and return its length."""


def require_playable(stream: VideoStream) -> None:
    """Raise VideoError `source_unsupported` unless browsers may play packets of the stream in an MP4."""
    context = stream.codec_context
    name = context.codec.canonical_name
    if name not in PLAYABLE_CODECS:
        raise VideoError("source_unsupported", NOT_PLAYABLE.format(name))
    if name == "h264" and context.pix_fmt not in PLAYABLE_H264:
        raise VideoError("source_unsupported", NOT_PLAYABLE.format(f"h264 ({context.pix_fmt})"))


class DecodeTimes:
    """Decoding timestamps for packets that state only when they are shown.

    Args:
        reordered: by how many places at most a packet is sent ahead of the display order.
    """

    def __init__(self, reordered: int) -> None:
        self._left = reordered
        self._early: list[int] = []
        self._last: int | None = None

    def next(self, pts: int) -> int | None:
        """Return the decoding timestamp of the next packet, at most `pts`; None if there is none after the last."""
        heapq.heappush(self._early, pts)
        if self._left > 0:
            self._left -= 1
            # Before the first displayed frame, any increasing time is valid.
            dts = self._early[0] - self._left - 1 if self._last is None else self._last + 1
        else:
            dts = heapq.heappop(self._early)
        dts = min(dts, pts)
        if self._last is not None and dts <= self._last:
            dts = self._last + 1
        if dts > pts:
            return None
        self._last = dts
        return dts


class ClipWriter:
    """A clip that is being written. The first packet must be a keyframe; its time is 0 in the clip.

    Args:
        sink: where the MP4 goes, a fragment of about `fragment_s` at a time.
        stream: the stream that the packets belong to.
        reordered: see DecodeTimes; used for packets without decoding timestamps.
        parameters: those of the codec, if they are not those that the stream began with.

    Raises:
        VideoError: the stream cannot be played as MP4.
    """

    def __init__(
        self,
        sink: Sink,
        stream: VideoStream,
        reordered: int,
        *,
        fragment_s: float = FRAGMENT_S,
        parameters: bytes | None = None,
    ) -> None:
        require_playable(stream)
        self._times = DecodeTimes(reordered)
        self._first_pts: int | None = None
        self._last_pts = 0
        options = {**_OPTIONS, "frag_duration": str(int(fragment_s * 1e6))}
        self._container = av.open(sink, "w", format="mp4", options=options)
        self._stream = self._container.add_stream_from_template(stream)
        if stream.time_base is not None:
            self._stream.time_base = stream.time_base
        if parameters is not None or not self._stream.codec_context.width:
            # A camera's description states no size, and the size may change; the decoder knows it.
            self._stream.codec_context.width = stream.codec_context.width
            self._stream.codec_context.height = stream.codec_context.height
        if parameters is not None:
            self._stream.codec_context.extradata = parameters
        if stream.codec_context.codec.canonical_name == "hevc":
            # Safari does not play any other.
            self._stream.codec_context.codec_tag = "hvc1"

    def may_end_before(self, packet: "Packet[Any]") -> bool:
        """Return whether no frame would be missing if the clip ended before this packet, the next one."""
        return self._first_pts is not None and packet.pts is not None and packet.pts > self._last_pts

    def write(self, packet: "Packet[Any]") -> None:
        """Append a copy of a packet, unless it is displayed before the first one, since it then refers to frames
        outside the clip.
        """
        if packet.pts is None:
            raise VideoError("source_unsupported", NO_TIMESTAMPS)
        if self._first_pts is None:
            self._first_pts = self._last_pts = packet.pts
        if packet.pts < self._first_pts:
            return
        dts = self._times.next(packet.pts) if packet.dts is None else packet.dts
        if dts is None:
            return
        self._last_pts = max(self._last_pts, packet.pts)
        copy: Packet[Any] = Packet(bytes(packet))
        copy.stream, copy.time_base = self._stream, packet.time_base
        copy.pts, copy.dts = packet.pts - self._first_pts, dts - self._first_pts
        copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
        with _translated_errors():
            self._container.mux(copy)

    def close(self) -> None:
        """Write the remaining packets. Idempotent."""
        with _translated_errors():
            self._container.close()


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except FFmpegError as error:
        raise VideoError("source_unsupported", f"No clip can be made of the video: {error.strerror}.") from error
