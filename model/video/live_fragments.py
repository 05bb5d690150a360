"""Write the newest packets of a live stream as a fragmented MP4 that browsers play while it grows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from av.video.stream import VideoStream

from model.video.clip_writer import ClipWriter, require_playable
from model.video.errors import VideoError
from model.video.packet_buffer import BufferedPacket, reordered

# Each viewer gets a message for every fragment; the video is delayed by the length of one.
FRAGMENT_S = 0.2
# Timestamps that jump forward or back by more than this begin another MP4. Reordering moves frames by less.
MAX_JUMP_S, MAX_JUMP_BACK_S = 10.0, 1.0
# Used if the decoder says that frames are reordered, but there are too few packets to see how far.
MAX_CAMERA_REORDER = 2
NOT_H264 = "Live video is shown of H.264 only, and this source sends {}. Snapshots are shown in its place."
START_CODE = re.compile(rb"\x00\x00\x01")
_PARAMETER_SETS = frozenset({7, 8})


@dataclass(frozen=True)
class FragmentsHead:
    """The beginning of an MP4. `media_type`, including the codec, is what a browser must support."""

    media_type: str
    width: int
    height: int
    data: bytes


@dataclass(frozen=True)
class Fragment:
    """The next part of an MP4. Its first packet is at `at_s` in the MP4, and at `media_s` in media time.

    `is_start`: it begins with a keyframe, so that a player can start with it after the head.
    """

    at_s: float
    media_s: float
    is_start: bool
    data: bytes


def parameter_sets(data: bytes) -> bytes:
    """Return the distinct H.264 parameter sets among NAL units with start codes, each with a start code."""
    units = (unit.rstrip(b"\0") for unit in START_CODE.split(data)[1:])
    sets = dict.fromkeys(unit for unit in units if unit and unit[0] & 31 in _PARAMETER_SETS)
    return b"".join(b"\0\0\0\1" + unit for unit in sets)


class LiveFragments:
    """One growing MP4 of packets from a keyframe on.

    `head` is known with the first fragment.

    Args:
        stream: the stream that the packets belong to; its decoder has decoded the keyframe.
        buffered: the newest packets of the stream, which show how far they are reordered.

    Raises:
        VideoError: browsers cannot play it.
    """

    def __init__(self, stream: VideoStream, buffered: Sequence[BufferedPacket]) -> None:
        context = stream.codec_context
        if context.codec.canonical_name != "h264":
            raise VideoError("source_unsupported", NOT_H264.format(context.codec.canonical_name))
        require_playable(stream)
        self.head: FragmentsHead | None = None
        self._size = (context.width, context.height)
        self._has_start_codes = not (context.extradata or b"").startswith(b"\1")
        self._parameters = b""
        if self._has_start_codes:
            keyframes = [each.packet for each in buffered if each.packet.is_keyframe]
            self._parameters = parameter_sets(bytes(keyframes[-1])) if keyframes else b""
        self._written = bytearray()
        reorder = max(reordered(list(buffered)), MAX_CAMERA_REORDER if context.has_b_frames else 0)
        self._writer = ClipWriter(
            self, stream, reorder, fragment_s=FRAGMENT_S, parameters=self._parameters or context.extradata
        )
        self._time_base = stream.time_base or Fraction(1, 90_000)
        self._first: BufferedPacket | None = None
        self._first_pts = self._last_pts = 0

    def write(self, data: bytes, /) -> int:
        """Accept data from the MP4's writer."""
        self._written += data
        return len(data)

    def continues_with(self, buffered: BufferedPacket) -> bool:
        """Return whether the packet belongs to the same MP4; a jump in time or different parameters begin another."""
        packet = buffered.packet
        if packet.pts is None or self._first is None:
            return True
        jump_s = float((packet.pts - self._last_pts) * self._time_base)
        if not -MAX_JUMP_BACK_S <= jump_s <= MAX_JUMP_S:
            return False
        if not (packet.is_keyframe and self._has_start_codes):
            return True
        sets = parameter_sets(bytes(packet))
        return not sets or sets == self._parameters

    def add(self, buffered: BufferedPacket) -> Fragment | None:
        """Write the next packet. Returns the fragment that is now complete, without this packet.

        Raises VideoError.
        """
        packet = buffered.packet
        if self._first is None:
            self._first, self._first_pts = buffered, packet.pts or 0
        self._writer.write(packet)
        if packet.pts is not None:
            self._last_pts = packet.pts
        if not self._written:
            return None
        data = bytes(self._written)
        self._written.clear()
        if self.head is None:
            length = _head_length(data)
            self.head, data = FragmentsHead(_media_type(data), *self._size, data[:length]), data[length:]
        first, self._first = self._first, buffered
        at_s = float(((first.packet.pts or 0) - self._first_pts) * self._time_base)
        return Fragment(at_s, first.media_s, first.packet.is_keyframe, data)


def _head_length(mp4: bytes) -> int:
    """Where the first fragment begins."""
    at = 0
    while mp4[at + 4 : at + 8] != b"moof":
        at += int.from_bytes(mp4[at : at + 4])
    return at


def _media_type(mp4: bytes) -> str:
    """The type of an MP4, with profile and level of its H.264 (RFC 6381)."""
    profile = mp4.index(b"avcC") + 5
    return f'video/mp4; codecs="avc1.{mp4[profile : profile + 3].hex()}"'
