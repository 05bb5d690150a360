"""The decoder child's side of clips: a copy of the packets around an event, sent while they arrive.

The parent collects the parts, so that it has most of a clip if this process or its source ends early. When the source
ends, everything up to its end is sent.
"""

import time
from typing import Any

from av.packet import Packet

from model.video.clip_writer import ClipWriter
from model.video.errors import VideoError
from model.video.packet_buffer import BufferedPacket, reordered
from model.video.packets import PacketReader
from service.decoder.protocol import (
    ALIVE_EVERY_S,
    CLIP_BEGINS,
    CLIP_DATA,
    CLIP_ENDED,
    CLIP_NUMBER,
    LAST_ORDERS,
    ClipOrder,
    Input,
    Output,
)

NO_KEYFRAME = "The source has not sent a keyframe at which a clip could begin."


class _Sink:
    """A file whose writes become messages."""

    def __init__(self, output: Output, number: int) -> None:
        self._output, self._head = output, CLIP_NUMBER.pack(number)

    def write(self, data: bytes, /) -> int:
        self._output.send(CLIP_DATA, self._head, data)
        return len(data)


class _Clip:
    """A clip that is being sent."""

    def __init__(self, order: ClipOrder, writer: ClipWriter) -> None:
        self.order = order
        self._writer = writer

    def take(self, packet: "Packet[Any]", at_s: float) -> bool:
        """Send the next packet, whose time is `at_s`. Returns whether the clip ended before it."""
        if at_s >= self.order.to_s and self._writer.may_end_before(packet):
            self._writer.close()
            return True
        self._writer.write(packet)
        return False

    def close(self) -> None:
        self._writer.close()


class Clips:
    """The clips of one source.

    Args:
        packets: the source; without a buffer, clips must not be ordered.
        starts_at_s: added to its times to give the parent's media times.
    """

    def __init__(self, packets: PacketReader, output: Output, starts_at_s: float) -> None:
        self._packets, self._output = packets, output
        self._starts_at_s = starts_at_s
        self._open: list[_Clip] = []
        if packets.buffer is not None:
            packets.buffer.followers.append(self._follow)

    def begin_ordered(self, input_: Input) -> None:
        """Send the buffered part of newly ordered clips; the rest follows as it arrives."""
        while input_.ordered:
            self._begin(input_.ordered.pop(0))

    def finish(self, input_: Input) -> None:
        """Take the last orders and end all clips, because the source has ended."""
        if self._packets.buffer is None:
            return
        self._output.send(LAST_ORDERS)
        while input_.has_more_orders:
            self.begin_ordered(input_)
            self._output.send_alive(time.monotonic())
            input_.wait(ALIVE_EVERY_S)
        self.begin_ordered(input_)
        for clip in self._open:
            try:
                clip.close()
                problem = None
            except VideoError as error:
                problem = error.detail
            self._end(clip.order, problem)
        self._open = []

    def _begin(self, order: ClipOrder) -> None:
        assert self._packets.buffer is not None
        head = self._packets.buffer.since(order.from_s - self._starts_at_s)
        if not head:
            self._end(order, NO_KEYFRAME)
            return
        from_s = round(head[0].media_s + self._starts_at_s, 3)
        self._output.send_json(CLIP_BEGINS, {"number": order.number, "from_s": from_s})
        try:
            sink = _Sink(self._output, order.number)
            clip = _Clip(order, ClipWriter(sink, self._packets.stream, reordered(head)))
            for buffered in head:
                if clip.take(buffered.packet, buffered.media_s + self._starts_at_s):
                    self._end(order, None)
                    return
        except VideoError as error:
            self._end(order, error.detail)
        else:
            self._open.append(clip)

    def _follow(self, buffered: BufferedPacket) -> None:
        """Take the newest packet."""
        newest_s = self._newest_s()
        for clip in self._open.copy():
            try:
                if not clip.take(buffered.packet, newest_s):
                    continue
                problem = None
            except VideoError as error:
                problem = error.detail
            self._open.remove(clip)
            self._end(clip.order, problem)

    def _end(self, order: ClipOrder, problem: str | None) -> None:
        """`problem`: why there is no clip."""
        to_s = min(self._newest_s(), order.to_s)
        self._output.send_json(CLIP_ENDED, {"number": order.number, "to_s": to_s, "problem": problem})

    def _newest_s(self) -> float:
        assert self._packets.buffer is not None
        return self._packets.buffer.newest_s + self._starts_at_s
