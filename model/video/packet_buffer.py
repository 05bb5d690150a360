"""Keep the newest packets of a stream, undecoded, from a keyframe on: the source of clips of the last seconds."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from av.packet import Packet

# The memory that a packet takes in addition to its data.
OVERHEAD_BYTES = 400
# Decoders return a frame at most this many packets late.
MAX_REORDERED = 32


@dataclass(slots=True)
class BufferedPacket:
    """A packet, and the media time of its frame; until that is known, the media time of the previous frame."""

    packet: "Packet[Any]"
    media_s: float


class PacketBuffer:
    """The newest packets of one stream, in the order in which they arrived. The oldest is always a keyframe.

    `newest_s` is the media time of the newest frame. `followers` are called with each packet that is added.

    Args:
        keep_s: how much of the stream to keep, up to `newest_s`; more until the next keyframe.
        max_bytes: the most that is kept; what is older than that is lost.
    """

    def __init__(self, keep_s: float, max_bytes: int) -> None:
        self._keep_s, self._max_bytes = keep_s, max_bytes
        self._groups: deque[list[BufferedPacket]] = deque()
        self._group_bytes: deque[int] = deque()
        self._bytes = 0
        self.newest_s = 0.0
        self.followers: list[Callable[[BufferedPacket], None]] = []

    @property
    def size_bytes(self) -> int:
        """The memory that the packets take."""
        return self._bytes

    def add(self, packet: "Packet[Any]") -> None:
        """Take the next packet."""
        added = BufferedPacket(packet, self.newest_s)
        if packet.is_keyframe:
            self._groups.append([])
            self._group_bytes.append(0)
            self._forget_old()
        if self._groups:
            self._keep(added)
        for follow in self.followers:
            follow(added)

    def _keep(self, added: BufferedPacket) -> None:
        size = added.packet.size + OVERHEAD_BYTES
        self._groups[-1].append(added)
        self._group_bytes[-1] += size
        self._bytes += size
        while self._groups and self._bytes > self._max_bytes:
            self._forget_oldest()

    def clear(self) -> None:
        """Forget everything, because the next packets do not continue it."""
        self._groups.clear()
        self._group_bytes.clear()
        self._bytes = 0

    def note_frame(self, pts: int | None, media_s: float) -> None:
        """Take the media time of the frame with this timestamp, which was decoded from one of the newest packets."""
        self.newest_s = media_s
        if pts is None:
            return
        for _, buffered in zip(range(MAX_REORDERED), self._newest_first(), strict=False):
            if buffered.packet.pts == pts:
                buffered.media_s = media_s
                return

    def since(self, from_s: float) -> list[BufferedPacket]:
        """Return the packets from the newest keyframe at or before `from_s` on, or else from the oldest one."""
        first = 0
        for number, group in enumerate(self._groups):
            if group[0].media_s <= from_s:
                first = number
        return [buffered for number, group in enumerate(self._groups) if number >= first for buffered in group]

    def newest(self) -> list[BufferedPacket]:
        """Return the packets from the newest keyframe on."""
        return list(self._groups[-1]) if self._groups else []

    def _newest_first(self) -> Iterator[BufferedPacket]:
        for group in reversed(self._groups):
            yield from reversed(group)

    def _forget_old(self) -> None:
        """Forget old groups of frames once a later group begins early enough."""
        while len(self._groups) > 2 and self._groups[1][0].media_s <= self.newest_s - self._keep_s:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._groups.popleft()
        self._bytes -= self._group_bytes.popleft()


def reordered(packets: list[BufferedPacket]) -> int:
    """Return the largest number of packets that precede one that is displayed earlier."""
    shown = [buffered.packet.pts for buffered in packets if buffered.packet.pts is not None]
    most = 0
    for index, pts in enumerate(shown):
        most = max(most, sum(before > pts for before in shown[max(0, index - MAX_REORDERED) : index]))
    return most
