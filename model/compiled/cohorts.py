"""Which stream remembers where: streams that are pushed together form a cohort, and stay in place while they are.

Only those that come together anew are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from weakref import WeakSet

import torch
from torch import Tensor

from model.compiled.lanes import Lanes
from model.state import from_bytes, to_bytes

ROOM = 3
"""Lanes for each stream, at most. With fewer, streams that come together at random are moved more often than needed."""


@dataclass(eq=False)
class Cohort:
    """Lanes, and whose they are at present."""

    lanes: Lanes
    streams: WeakSet[Stream] = field(default_factory=WeakSet)


class Stream:
    """What a detector remembers of one stream. Opaque: made by `Detector.open_stream`, advanced by `Detector.push`."""

    def __init__(self, cohort: Cohort) -> None:
        self.frames = 0
        """Pushed so far."""
        self.cohort, self.lane = cohort, 0
        cohort.streams.add(self)

    def save(self) -> bytes:
        """Everything that `Detector.open_stream` needs to go on from here as if nothing had happened."""
        return to_bytes(self._state())

    def restore(self, saved: bytes) -> None:
        """Go on from there. Raises StateInvalid when another model saved it."""
        state = from_bytes(saved, self._state())
        self.frames = int(state.frames_1)
        self.cohort.lanes.remember(self.lane, self.frames, state.remembered)

    def move(self, cohort: Cohort, lane: int) -> None:
        """What it remembers must be there already."""
        self.cohort.streams.discard(self)
        self.cohort, self.lane = cohort, lane
        cohort.streams.add(self)

    def _state(self) -> _State:
        return _State(torch.tensor([self.frames]), self.cohort.lanes.remembered(self.lane))


@dataclass(frozen=True)
class _State:
    """As it is saved."""

    frames_1: Tensor
    remembered: tuple[Tensor, ...]


class Cohorts:
    """All streams of a detector, with room for cohorts to come again."""

    def __init__(self, make_lanes: Callable[[int], Lanes]) -> None:
        self._make_lanes = make_lanes
        self._cohorts: list[Cohort] = []
        """The one used last comes last."""

    def open(self) -> Stream:
        """A stream that has seen nothing."""
        cohort = self._vacant(1, busy=())
        cohort.lanes.forget()
        return Stream(cohort)

    def gather(self, streams: Sequence[Stream], busy: Sequence[Cohort]) -> Cohort:
        """The cohort of exactly these streams, in this order; none that is `busy` is broken up for it."""
        cohort = streams[0].cohort
        together = len(streams) == cohort.lanes.size
        if not together or any(s.cohort is not cohort or s.lane != lane for lane, s in enumerate(streams)):
            cohort = self._vacant(len(streams), busy)
            for lane, first, count in _neighbours(streams):
                cohort.lanes.take(lane, first.cohort.lanes, first.lane, count)
            for lane, stream in enumerate(streams):
                stream.move(cohort, lane)
        self._cohorts.remove(cohort)
        self._cohorts.append(cohort)
        return cohort

    def _vacant(self, size: int, busy: Sequence[Cohort]) -> Cohort:
        """Lanes of nobody. Where there are none and no room, the cohorts that were used longest ago are broken up."""
        if (vacant := self._found(size, busy)) is not None:
            return vacant
        room = ROOM * sum(len(cohort.streams) for cohort in self._cohorts)
        taken = size + sum(cohort.lanes.size for cohort in self._cohorts)
        for cohort in list(self._cohorts):
            if taken <= room:
                break
            if cohort not in busy and (cohort.lanes.size > 1 or not cohort.streams):
                self._break_up(cohort)
                if cohort.lanes.size == size:
                    return cohort
                self._cohorts.remove(cohort)
                taken -= cohort.lanes.size
        return self._new(size)

    def _found(self, size: int, busy: Sequence[Cohort]) -> Cohort | None:
        vacant = (c for c in reversed(self._cohorts) if c.lanes.size == size and not c.streams and c not in busy)
        return next(vacant, None)

    def _break_up(self, cohort: Cohort) -> None:
        for stream in list(cohort.streams):
            alone = self._found(1, busy=(cohort,)) or self._new(1)
            alone.lanes.take(0, cohort.lanes, stream.lane, 1)
            stream.move(alone, 0)

    def _new(self, size: int) -> Cohort:
        cohort = Cohort(self._make_lanes(size))
        self._cohorts.append(cohort)
        return cohort


def _neighbours(streams: Sequence[Stream]) -> Iterator[tuple[int, Stream, int]]:
    """Runs of streams that sit side by side already: where each begins, its first stream, and how many they are."""
    begin = 0
    for lane in range(1, len(streams) + 1):
        first, steps = streams[begin], lane - begin
        if lane < len(streams):
            here = streams[lane]
            if here.cohort is first.cohort and here.lane == first.lane + steps:
                continue
        yield begin, first, steps
        begin = lane
