"""Keeps track of where the state of each stream is. Streams that are pushed together form a group, and their states
stay in its slots.

Only the states of streams that change their group are copied. Shapes: G input values of the GRU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from model.compiled.slots import BatchSlots
from model.compiled.state import load_state, save_state

SLOTS_PER_STREAM = 2
"""The maximum. More take 3 MB each and save no time, not even if streams are combined at random."""
SETTLED_CHANGE = 3e-3
"""The input of a GRU has settled once it changes by no more than this in a step, relative to its largest value."""


@dataclass(eq=False)
class Group:
    """Batch slots, and the streams that use them."""

    slots: BatchSlots
    streams: WeakSet[Stream] = field(default_factory=WeakSet)


class Stream:
    """The detector state of one stream. Opaque: made by `Detector.open_stream`, advanced by `Detector.push`."""

    def __init__(self, group: Group, window_steps: int) -> None:
        self.frames = 0
        """Number of frames pushed so far."""
        self.group, self.slot = group, 0
        self._window_steps = window_steps
        group.streams.add(self)
        self._unchanged, self._is_calm = 0, False
        self._given_G: NDArray[np.float32] | None = None

    def save(self) -> bytes:
        """The whole state, for `Detector.open_stream` to resume from."""
        return save_state(self.frames, self.group.slots.state(self.slot))

    def restore(self, saved: bytes) -> None:
        """Resume from a saved state.

        Raises:
            StateError: another model saved it.
        """
        shapes = [values.shape for values in self.group.slots.state(self.slot)]
        self.frames, state = load_state(saved, shapes)
        self.group.slots.set_state(self.slot, self.frames, state)

    @property
    def has_settled(self) -> bool:
        """Whether the frames have been the same for a whole window, so that only the GRU's state still changes."""
        return self._is_calm and self._unchanged >= self._window_steps

    def follow(self, *, is_unchanged: bool) -> None:
        """Note that a step was computed, and whether its frame was that of the previous step."""
        self._unchanged, self._is_calm = (self._unchanged + 1, False) if is_unchanged else (0, False)
        before_G, self._given_G = self._given_G, None
        if is_unchanged:
            self._given_G = now_G = self.group.slots.given_BG[self.slot].copy()
            if before_G is not None:
                change = np.abs(now_G - before_G).max()
                self._is_calm = bool(change <= SETTLED_CHANGE * np.abs(now_G).max())

    def move(self, group: Group, slot: int) -> None:
        """Note the state's new place; the caller has copied it."""
        self.group.streams.discard(self)
        self.group, self.slot = group, slot
        group.streams.add(self)


class Groups:
    """All streams of a detector. Groups without streams are kept for reuse."""

    def __init__(self, make_slots: Callable[[int], BatchSlots], window_steps: int) -> None:
        self._make_slots, self._window_steps = make_slots, window_steps
        self._groups: list[Group] = []
        """In order of use, the most recent one last."""

    def open(self) -> Stream:
        """A stream in its initial state."""
        group = self._vacant(1, busy=())
        group.slots.reset()
        return Stream(group, self._window_steps)

    def gather(self, streams: Sequence[Stream], busy: Sequence[Group]) -> Group:
        """The group of exactly these streams, in this order. Groups in `busy` are not broken up to form it."""
        group = streams[0].group
        complete = len(streams) == group.slots.size
        if not complete or any(s.group is not group or s.slot != slot for slot, s in enumerate(streams)):
            group = self._vacant(len(streams), busy)
            for slot, first, count in _adjacent(streams):
                group.slots.copy_from(slot, first.group.slots, first.slot, count)
            for slot, stream in enumerate(streams):
                stream.move(group, slot)
        self._groups.remove(group)
        self._groups.append(group)
        return group

    def _vacant(self, size: int, busy: Sequence[Group]) -> Group:
        """A group without streams. If there is none and the capacity is used up, the least recently used groups are
        broken up.
        """
        if (vacant := self._find_vacant(size, busy)) is not None:
            return vacant
        capacity = SLOTS_PER_STREAM * sum(len(group.streams) for group in self._groups)
        taken = size + sum(group.slots.size for group in self._groups)
        for group in list(self._groups):
            if taken <= capacity:
                break
            if group not in busy and (group.slots.size > 1 or not group.streams):
                self._break_up(group)
                if group.slots.size == size:
                    return group
                self._groups.remove(group)
                taken -= group.slots.size
        return self._new(size)

    def _find_vacant(self, size: int, busy: Sequence[Group]) -> Group | None:
        vacant = (g for g in reversed(self._groups) if g.slots.size == size and not g.streams and g not in busy)
        return next(vacant, None)

    def _break_up(self, group: Group) -> None:
        """Give each of the group's streams a separate group."""
        for stream in list(group.streams):
            single = self._find_vacant(1, busy=(group,)) or self._new(1)
            single.slots.copy_from(0, group.slots, stream.slot, 1)
            stream.move(single, 0)

    def _new(self, size: int) -> Group:
        group = Group(self._make_slots(size))
        self._groups.append(group)
        return group


def _adjacent(streams: Sequence[Stream]) -> Iterator[tuple[int, Stream, int]]:
    """Runs of streams whose slots are already adjacent: index of the first one, the stream, and their number."""
    begin = 0
    for index in range(1, len(streams) + 1):
        first, steps = streams[begin], index - begin
        if index < len(streams):
            here = streams[index]
            if here.group is first.group and here.slot == first.slot + steps:
                continue
        yield begin, first, steps
        begin = index
