"""The states of a batch of streams, in the memory that the step graph reads and writes.

A step writes the next values over values that are no longer needed: nothing is copied or allocated, and a step that
fails changes nothing. Shapes: B streams, H = W pixels; G input values of the GRU, and H of its state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar, cast

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import InferRequest, Type

from model.checkpoints.arrays import to_bfloat16
from model.compiled.graph import Memory

Values = NDArray[np.float32] | NDArray[np.uint16]
"""One memory of all slots at one step. NumPy has no bfloat16, so its bits are kept as uint16."""
T = TypeVar("T")


class BatchSlots:
    """One slot for each of B streams, with its state and its next frame."""

    def __init__(
        self, size: int, memories: Sequence[Memory], map_type: Type, image_size: int, given_width: int
    ) -> None:
        self.size = size
        self.frames_BHWC = np.zeros((size, image_size, image_size, 3), np.uint8)
        self._seen_B1 = np.zeros((size, 1), np.float32)
        self.given_BG = np.zeros((size, given_width), np.float32)
        """The GRU's input in the last step."""
        self._inputs = _shared(self.frames_BHWC), _shared(self._seen_B1)
        self._given = _shared(self.given_BG)
        self._rings = [_Ring.empty(size, memory, map_type) for memory in memories]
        self._steps = 0

    def bind(self, request: InferRequest) -> None:
        """Bind the graph's inputs and outputs to this memory, except for the first output, the scores."""
        past = chain(self._inputs, *(ring.past(ring.tensors, self._steps) for ring in self._rings))
        for index, tensor in enumerate(past):
            request.set_input_tensor(index, tensor)
        for index, ring in enumerate(self._rings, 1):
            request.set_output_tensor(index, ring.next(ring.tensors, self._steps))
        request.set_output_tensor(len(self._rings) + 1, self._given)

    def advance(self) -> None:
        """Make the values that the graph wrote the current state."""
        self._steps += 1
        self._seen_B1 += 1.0

    def reset(self) -> None:
        """Put every slot into the initial state."""
        self._seen_B1.fill(0.0)
        for values in self._values():
            values.fill(0)

    def copy_from(self, slot: int, other: BatchSlots, first: int, count: int) -> None:
        """Copy the states of `count` slots of `other`, starting at `first`, to the slots starting at `slot`."""
        here, there = slice(slot, slot + count), slice(first, first + count)
        self._seen_B1[here] = other._seen_B1[there]
        self.given_BG[here] = other.given_BG[there]
        for mine, others in zip(self._values(), other._values(), strict=True):
            mine[here] = others[there]

    def hidden(self, slot: int) -> NDArray[np.float32]:
        """The head's hidden state (1, H) of a slot, which may be written to."""
        (hidden_BH,) = _Ring.past(self._rings[-1].step_values, self._steps)
        return cast("NDArray[np.float32]", hidden_BH[slot : slot + 1])

    def state(self, slot: int) -> tuple[Values, ...]:
        """A slot's state: arrays (1, ...) that change with the next step."""
        return tuple(values[slot : slot + 1] for values in self._values())

    def set_state(self, slot: int, seen: int, state: Sequence[NDArray[np.float32]]) -> None:
        """Set a slot to a state, widened to float32, after `seen` frames."""
        self._seen_B1[slot] = seen
        for values, kept in zip(self._values(), state, strict=True):
            values[slot : slot + 1] = to_bfloat16(kept) if values.dtype == np.uint16 else kept

    def _values(self) -> Iterator[Values]:
        return chain.from_iterable(ring.past(ring.step_values, self._steps) for ring in self._rings)


@dataclass(frozen=True)
class _Ring:
    """A ring buffer of one memory: the values of the stored steps, and those that the next step writes."""

    step_values: tuple[Values, ...]
    tensors: tuple[openvino.Tensor, ...]
    """The same memory, as OpenVINO sees it."""

    @classmethod
    def empty(cls, size: int, memory: Memory, map_type: Type) -> _Ring:
        kind = map_type if memory.is_map else Type.f32
        dtype = np.dtype(np.uint16 if kind == Type.bf16 else np.float32)
        step_values = tuple(np.zeros((size, *memory.shape), dtype) for _ in range(memory.depth + 1))
        return cls(step_values, tuple(openvino.Tensor(values, list(values.shape), kind) for values in step_values))

    @staticmethod
    def past(ring: tuple[T, ...], steps: int) -> tuple[T, ...]:
        """The kept values, oldest first."""
        first = steps % len(ring)
        return (ring + ring)[first : first + len(ring) - 1]

    @staticmethod
    def next(ring: tuple[T, ...], steps: int) -> T:
        return ring[(steps - 1) % len(ring)]


def _shared(array: NDArray[np.generic]) -> openvino.Tensor:
    return openvino.Tensor(array, shared_memory=True)
