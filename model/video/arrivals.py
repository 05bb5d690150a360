"""The packets of an open source as they arrive."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from model.video.errors import VideoError
from model.video.rtp_frames import NAL_UNITS, RtpFrame, RtpFrames
from model.video.rtp_marks import RtpMarks

OnPacket = Callable[["Packet[Any]", float], None]
"""Called with a packet and the time of its arrival, on the monotonic clock."""
# There are many RTP packets for each frame.
NOTED_EVERY_S = 0.1


class Arrival(NamedTuple):
    """A packet, the time on the monotonic clock when it was complete, and how long the reader waited for it."""

    packet: "Packet[Any]"
    at_s: float
    awaited_s: float


def arrivals(packets: "Iterator[Packet[Any]]", on_packet: OnPacket) -> Iterator[Arrival]:
    """Yield packets as FFmpeg returns them. Raises FFmpegError."""
    asked_at_s = time.monotonic()
    for packet in packets:
        now_s = time.monotonic()
        on_packet(packet, now_s)
        yield Arrival(packet, now_s, now_s - asked_at_s)
        asked_at_s = time.monotonic()


def kept_fragments(packets: "Iterator[Packet[Any]]", index: int) -> "Iterator[Packet[Any]]":
    """Yield the packets of a fragmented MP4, with those of stream `index` that FFmpeg would have discarded.

    FFmpeg marks a whole fragment to be discarded if its clock is not later than that of the previous fragment, as in
    recordings that were joined. Packets hidden by an edit list come before the first frame.
    """
    has_begun = False
    for packet in packets:
        if packet.stream_index == index and packet.is_discard and has_begun:
            yield _unmarked(packet)
            continue
        has_begun |= packet.stream_index == index and not packet.is_discard
        yield packet


def _unmarked(packet: "Packet[Any]") -> "Packet[Any]":
    """Return a copy of a packet without its mark, which PyAV cannot remove."""
    copy: Packet[Any] = Packet(bytes(packet))
    copy.stream, copy.time_base, copy.is_keyframe = packet.stream, packet.time_base, packet.is_keyframe
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    for data in packet.iter_sidedata():
        copy.set_sidedata(data)
    return copy


def frame_arrivals(
    packets: "Iterator[Packet[Any]]",
    stream: VideoStream,
    marks: RtpMarks | None,
    on_packet: OnPacket,
) -> Iterator[Arrival]:
    """Yield the frames of an H.264 or H.265 stream over RTP as soon as they are complete.

    Args:
        packets: the packets that FFmpeg returns without a parser: one for each RTP packet.
        marks: the marks of the connection; without them a frame is complete when the next one begins.
        on_packet: called with some of the packets and their times.

    Raises:
        FFmpegError, VideoError: the connection failed; a frame that had already arrived is yielded first.
    """
    frames = RtpFrames(NAL_UNITS[stream.codec_context.name])
    index, noted_at_s = stream.index, 0.0
    try:
        while True:
            asked_at_s = time.monotonic()
            is_marked = None if marks is None else marks.next()
            packet = next(packets, None)
            if packet is None:
                break
            now_s = time.monotonic()
            if now_s - noted_at_s > NOTED_EVERY_S:
                on_packet(packet, now_s)
                if packet.stream_index == index:
                    noted_at_s = now_s
            if marks is not None and not marks.was_read():
                is_marked = None
            if packet.stream_index != index or not packet.size:
                continue
            for frame in frames.add(bytes(packet), packet.pts, now_s, now_s - asked_at_s, is_marked):
                yield _arrival(frame, stream)
    except (FFmpegError, VideoError):
        yield from _last(frames, stream)
        raise
    yield from _last(frames, stream)


def _last(frames: RtpFrames, stream: VideoStream) -> Iterator[Arrival]:
    frame = frames.finish()
    if frame is not None:
        yield _arrival(frame, stream)


def _arrival(frame: RtpFrame, stream: VideoStream) -> Arrival:
    packet: Packet[Any] = Packet(frame.data)
    assert stream.time_base is not None
    packet.stream, packet.time_base = stream, stream.time_base
    packet.pts, packet.is_keyframe = frame.pts, frame.is_keyframe
    return Arrival(packet, frame.arrived_at_s, frame.awaited_s)
