"""Compare each packet of a camera with the packet expected while nothing moves.

Pure. The expectation depends on the packet's position after the keyframe, because encoders give some positions better
quality, and it follows changes of the light. Besides its size, a packet has a quantiser: an encoder with a constant bit
rate quantises motion more coarsely instead of producing larger packets.
"""

import math
from typing import NamedTuple

# Later positions after a keyframe are expected to be alike.
MAX_POSITION = 256
# The expectation follows this many packets.
LEVEL_PACKETS, POSITION_PACKETS = 50, 30
# A position differs from the others only to the extent that several packets show it.
FIRST_OF_POSITION = 4
# Packets that are not decoded raise the expectation by at most these amounts.
MAX_KEPT_RISE = (0.05, 0.25)


class CodedPacket(NamedTuple):
    """What is known of a packet before it is decoded."""

    size_bytes: int
    quantiser: int | None
    """The quantiser of its first slice; None if it cannot be read."""
    position: int
    """Packets since the keyframe, which is 0."""


class Deviation(NamedTuple):
    """How a packet differs from the expectation."""

    size: float
    """Natural logarithm of the ratio of sizes."""
    quantiser: float


class ExpectedPackets:
    """The expectation for one camera's packets. Before the first packet was learnt, any packet meets it."""

    def __init__(self) -> None:
        self._level: list[float] = []
        self._learnt = 0
        self._positions: dict[int, tuple[int, list[float]]] = {}
        self._kept_rise = [0.0, 0.0]

    def deviation(self, packet: CodedPacket) -> Deviation:
        """Return how a packet differs."""
        if not self._level:
            return Deviation(0.0, 0.0)
        _, effect = self._positions.get(min(packet.position, MAX_POSITION), (0, (0.0, 0.0)))
        size, quantiser = _features(packet)
        differs = size - self._level[0] - effect[0], quantiser - self._level[1] - effect[1]
        return Deviation(differs[0], 0.0 if packet.quantiser is None else differs[1])

    def learn(self, packet: CodedPacket, *, is_kept: bool) -> None:
        """Learn from a packet of a still scene. A packet that was not decoded may contain unnoticed motion."""
        if not self._level:
            self._level = list(_features(packet))
        differs = self.deviation(packet)
        self._learnt += 1
        share = 1 / min(self._learnt, LEVEL_PACKETS)
        for number, value in enumerate(differs):
            rise = share * value
            if is_kept:
                rise = min(rise, MAX_KEPT_RISE[number] - self._kept_rise[number])
                self._kept_rise[number] += rise
            else:
                self._kept_rise[number] = 0.0
            self._level[number] += rise
        if not is_kept:
            self._learn_position(min(packet.position, MAX_POSITION), differs)

    def _learn_position(self, position: int, differs: Deviation) -> None:
        count, effect = self._positions.get(position, (FIRST_OF_POSITION, [0.0, 0.0]))
        share = 1 / min(count, POSITION_PACKETS)
        self._positions[position] = count + 1, [old + share * new for old, new in zip(effect, differs, strict=True)]


def _features(packet: CodedPacket) -> tuple[float, float]:
    return math.log(max(1, packet.size_bytes)), float(packet.quantiser or 0)
