"""Decode a camera only while something moves; until then, its packets since the last keyframe wait undecoded."""

import re
from collections.abc import Callable
from typing import Any

from av.packet import Packet
from av.video.frame import VideoFrame

from model.video.expected_packets import CodedPacket
from model.video.h264_quantiser import H264Quantiser
from model.video.packet_sizes import Decoding
from model.video.packets import PacketReader
from model.video.quiet_gate import QuietGate

# Their frames must be decoded before motion can be seen, which takes about a quarter of a second at 720p.
MAX_KEPT_PACKETS, MAX_KEPT_BYTES = 250, 4 * 1024**2
# This many packets in a row, and the first keyframe, must each yield one frame immediately before any packet is kept.
PLAIN_PACKETS = 50
# By codec: the types of NAL units that hold a frame, and of those after which nothing refers to earlier frames.
_START_CODE = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)
_FRAMES = {"h264": frozenset({1, 2, 5}), "hevc": frozenset(range(32))}
_FRESH_STARTS = {"h264": frozenset({5}), "hevc": frozenset(range(16, 21))}


def is_fresh_start(data: bytes, codec: str) -> bool:
    """Return whether a coded frame with start codes, and all that follow it, refer to no frame before it."""
    for found in _START_CODE.finditer(data):
        (head,) = found[1]
        kind = head & 31 if codec == "h264" else head >> 1 & 63
        if kind in _FRAMES[codec]:
            return kind in _FRESH_STARTS[codec]
    return False


class QuietDecoder:
    """Decodes one connection to a camera; packets must be passed in order.

    Packets are kept only for H.264 and H.265 with start codes and without reordered frames, starting at a keyframe
    before which no later frame refers to anything.

    Args:
        gate: decides.
        is_watched: whether someone sees the frames, so that all of them must be decoded.
    """

    def __init__(self, packets: PacketReader, gate: QuietGate, is_watched: Callable[[], bool]) -> None:
        self._packets, self._gate, self._is_watched = packets, gate, is_watched
        self._codec = packets.stream.codec_context.name
        self._shown = packets.first_frames[-1]
        self._kept: list[Packet[Any]] = []
        self._kept_bytes = self._plain = 0
        self._is_suited, self._has_fresh_start = self._codec in _FRAMES, False
        self._quantisers = H264Quantiser() if self._codec == "h264" else None
        self._position = 0
        self._read_quantiser(packets.stream.codec_context.extradata or b"")

    @property
    def decoding(self) -> Decoding:
        """What is currently decoded."""
        return self._gate.decoding if self._is_suited else "no_signal"

    def decode(self, packet: "Packet[Any]") -> list[VideoFrame]:
        """Return the frames of a packet. For a packet that is kept, this is the last decoded frame with the
        packet's timestamp.
        """
        if packet.is_keyframe:
            # Nothing will refer to them; otherwise the decoder reports damage.
            self._forget()
            data, self._position = bytes(packet), 0
            self._read_quantiser(data)  # with its parameter sets
            self._has_fresh_start = self._is_suited and is_fresh_start(data, self._codec)
            self._is_suited = self._has_fresh_start
            return self._decode(packet)
        if self._keeps(packet):
            self._kept.append(packet)
            self._kept_bytes += packet.size
            # A decoder that has nothing to do has not failed.
            self._packets.flow.decoded_at_s = self._packets.flow.arrived_at_s
            self._shown.pts = packet.pts
            return [self._shown]
        for each in self._kept:
            self._packets.decoder.decode(each)
        if self._kept:
            # Once decoding of a group of frames has begun, it continues to the end if the group is too long to wait.
            self._has_fresh_start = not self._is_full()
        self._forget()
        return self._decode(packet)

    def skip(self) -> None:
        """Note that this packet and all following ones up to a keyframe are left out."""
        self._forget()
        self._has_fresh_start = False
        self._gate.interrupt()

    def _keeps(self, packet: "Packet[Any]") -> bool:
        if not self._is_suited or packet.pts is None or packet.time_base is None:
            return False
        can_wait = self._plain >= PLAIN_PACKETS and self._has_fresh_start and not self._is_full()
        at_s = packet.pts * float(packet.time_base)
        self._position += 1
        coded = None
        if self._gate.needs_packet:
            coded = CodedPacket(packet.size, self._read_quantiser(bytes(packet)), self._position)
        return self._gate.keeps(coded, at_s, may_keep=can_wait and not self._is_watched())

    def _read_quantiser(self, data: bytes) -> int | None:
        return None if self._quantisers is None else self._quantisers.read(data)

    def _is_full(self) -> bool:
        return len(self._kept) >= MAX_KEPT_PACKETS or self._kept_bytes >= MAX_KEPT_BYTES

    def _forget(self) -> None:
        self._kept, self._kept_bytes = [], 0

    def _decode(self, packet: "Packet[Any]") -> list[VideoFrame]:
        frames = self._packets.decoder.decode(packet)
        is_plain = packet.pts is not None and [frame.pts for frame in frames] == [packet.pts]
        self._plain = self._plain + 1 if is_plain else 0
        if frames:
            # After a loss, a packet may yield no frame, but never the frame of another packet.
            self._is_suited &= is_plain
            if (frames[-1].width, frames[-1].height) != (self._shown.width, self._shown.height):
                self._gate.restart()
            self._shown = frames[-1]
        return frames
