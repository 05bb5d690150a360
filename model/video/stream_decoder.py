"""Decode the packets of one video stream, across damaged ones and from one container to the next."""

import time
from collections.abc import Iterable
from typing import Any

from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from model.video.errors import VideoError
from model.video.packet_flow import UNDECODABLE, PacketFlow
from model.video.stream import prepare_decoder

ENDED_AT_ONCE = "The source ended its stream before the first frame. Check that the camera is running and sends video."
NOTHING_DECODED = (
    "No frame could be decoded: the video is damaged, cut short, or larger than 8192 x 4352. Send the whole file."
)


class StreamDecoder:
    """The decoder of the stream that is read. `damaged` counts packets that could not be decoded.

    Args:
        flow: is notified when frames come out.
        from_camera: whether it is a live stream from a server, which may be tried again.

    Raises:
        VideoError: the stream cannot be decoded.
    """

    def __init__(self, stream: VideoStream, flow: PacketFlow, *, from_camera: bool) -> None:
        self._flow, self._is_camera = flow, from_camera
        self._flushed: list[VideoFrame] = []
        self.damaged = 0
        self.open(stream)

    def open(self, stream: VideoStream) -> None:
        """Decode this stream from now on. Raises VideoError.

        This opens the decoder before the first packet; PyAV would open it at the packet. A failed attempt removes the
        codec from FFmpeg's context, and PyAV 19 then raises ValueError at the second packet.
        """
        prepare_decoder(stream)
        try:
            stream.codec_context.open(strict=False)
        except FFmpegError:
            if self._is_camera:
                raise VideoError("source_unreachable", UNDECODABLE) from None
            raise VideoError("decode_failed", NOTHING_DECODED) from None
        self._stream = stream

    def flush(self) -> None:
        """Take out the frames that the decoder still holds; they are returned with the next packet."""
        self._flushed = self._stream.decode(None)

    def decode(self, packet: "Packet[Any] | None") -> list[VideoFrame]:
        """Decode one packet, or flush the decoder with None. A damaged packet is counted and gives no frame."""
        flushed, self._flushed = self._flushed, []
        try:
            frames = flushed + self._stream.decode(packet)
        except FFmpegError:
            self.damaged += 1
            return flushed
        if frames:
            self._flow.decoded_at_s = time.monotonic()
        return frames

    def decode_first(self, packets: "Iterable[Packet[Any]]") -> tuple[list[VideoFrame], list[int]]:
        """Decode up to the first frame. Returns what came out, and the decoding timestamps of the packets it took.

        Raises VideoError if no frame comes out.
        """
        taken_dts: list[int] = []
        for packet in packets:
            if packet.dts is not None:
                taken_dts.append(packet.dts)
            if frames := self.decode(packet):
                return frames, taken_dts
        if frames := self.decode(None):
            return frames, taken_dts
        if self._is_camera:
            raise VideoError("source_unreachable", ENDED_AT_ONCE)
        raise VideoError("decode_failed", NOTHING_DECODED)
