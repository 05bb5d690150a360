"""The memories of streams, side by side as the step graph takes them.

A step writes the next values into the place of what nobody remembers any more: nothing is copied or allocated, and a
step that fails has changed nothing. Shapes: B streams, H = W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from openvino import InferRequest, Type
from torch import Tensor

from model.compiled.graph import Memory

Place = NDArray[np.float32] | NDArray[np.int16]
"""Values of one memory of all lanes at one step. NumPy knows no bfloat16: its bits are kept as int16."""
T = TypeVar("T")


class Lanes:
    """Room for B streams, each in a lane of its own, and for their next frames."""

    def __init__(self, size: int, memories: Sequence[Memory], map_type: Type, image_size: int) -> None:
        self.size = size
        self.frames_BHWC = np.zeros((size, image_size, image_size, 3), np.uint8)
        self._seen_B1 = np.zeros((size, 1), np.float32)
        self._given = _shared(self.frames_BHWC), _shared(self._seen_B1)
        self._rings = [_Ring.empty(size, memory, map_type) for memory in memories]
        self._steps = 0

    def bind(self, request: InferRequest) -> None:
        """Have the graph read from here and write to here, but for its first output."""
        past = chain(self._given, *(ring.past(ring.tensors, self._steps) for ring in self._rings))
        for index, tensor in enumerate(past):
            request.set_input_tensor(index, tensor)
        for index, ring in enumerate(self._rings, 1):
            request.set_output_tensor(index, ring.next(ring.tensors, self._steps))

    def advance(self) -> None:
        """What the graph wrote is remembered from now on."""
        self._steps += 1
        self._seen_B1 += 1.0

    def forget(self) -> None:
        """As if nothing had been seen in any lane."""
        self._seen_B1.fill(0.0)
        for place in self._places():
            place.fill(0)

    def take(self, lane: int, other: Lanes, first: int, count: int) -> None:
        """Remember, from this lane on, what `count` lanes of the other do, from its `first` on."""
        here, there = slice(lane, lane + count), slice(first, first + count)
        self._seen_B1[here] = other._seen_B1[there]
        for mine, others in zip(self._places(), other._places(), strict=True):
            mine[here] = others[there]

    def remembered(self, lane: int) -> tuple[Tensor, ...]:
        """A copy of what a lane remembers, each (1, ...)."""
        return tuple(_as_tensor(place[lane : lane + 1].copy()) for place in self._places())

    def remember(self, lane: int, seen: int, remembered: Sequence[Tensor]) -> None:
        """What `remembered` gave, after so many frames."""
        self._seen_B1[lane] = seen
        for place, tensor in zip(self._places(), remembered, strict=True):
            _as_tensor(place)[lane : lane + 1] = tensor

    def _places(self) -> Iterator[Place]:
        return chain.from_iterable(ring.past(ring.places, self._steps) for ring in self._rings)


@dataclass(frozen=True)
class _Ring:
    """One memory: a place for each step that is remembered, and one for the next; they change their parts each step."""

    places: tuple[Place, ...]
    tensors: tuple[openvino.Tensor, ...]
    """The same memory, as OpenVINO sees it."""

    @classmethod
    def empty(cls, size: int, memory: Memory, map_type: Type) -> _Ring:
        kind = map_type if memory.is_map else Type.f32
        dtype = np.dtype(np.int16 if kind == Type.bf16 else np.float32)
        places = tuple(np.zeros((size, *memory.shape), dtype) for _ in range(memory.depth + 1))
        return cls(places, tuple(openvino.Tensor(place, list(place.shape), kind) for place in places))

    @staticmethod
    def past(ring: tuple[T, ...], steps: int) -> tuple[T, ...]:
        """Oldest first."""
        first = steps % len(ring)
        return (ring + ring)[first : first + len(ring) - 1]

    @staticmethod
    def next(ring: tuple[T, ...], steps: int) -> T:
        return ring[(steps - 1) % len(ring)]


def _shared(array: NDArray[np.generic]) -> openvino.Tensor:
    return openvino.Tensor(array, shared_memory=True)


def _as_tensor(place: Place) -> Tensor:
    tensor = torch.from_numpy(place)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.int16 else tensor
