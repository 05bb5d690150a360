"""What a causal network remembers of a stream: nested dataclasses of tensors whose first dimension is the stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

StateT = TypeVar("StateT")


class StateInvalid(ValueError):
    """Saved bytes are not a state of this network."""


def map_state(function: Callable[..., Tensor], *states: StateT) -> StateT:
    """A state whose tensors are `function` of the tensors at the same place in all `states`."""
    first = states[0]
    if isinstance(first, Tensor):
        return cast(StateT, function(*states))
    if isinstance(first, tuple):
        columns = zip(*cast(Sequence[tuple[object, ...]], states), strict=True)
        return cast(StateT, tuple(map_state(function, *column) for column in columns))
    if is_dataclass(first) and not isinstance(first, type):
        values = {f.name: map_state(function, *(getattr(s, f.name) for s in states)) for f in fields(first)}
        return replace(first, **values)
    raise TypeError(f"a state holds tensors, tuples and dataclasses, not {type(first).__name__}")


def to_bytes(state: object) -> bytes:
    tensors: dict[str, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        tensors[f"{len(tensors):04d}"] = tensor.contiguous().clone()
        return tensor

    map_state(keep, state)
    return save(tensors)


def from_bytes(saved: bytes, like: StateT) -> StateT:
    """The state that `to_bytes` saved, for the network whose fresh state is `like`; `StateInvalid` when it is of
    another.
    """
    try:
        tensors = load(saved)
    except SafetensorError as error:
        raise StateInvalid(f"the saved stream state cannot be read: {error}") from error
    used = iter(sorted(tensors.items()))

    def take(fresh: Tensor) -> Tensor:
        _, tensor = next(used, ("", None))
        if tensor is None or tensor.shape != fresh.shape or tensor.is_floating_point() != fresh.is_floating_point():
            raise StateInvalid("the saved stream state is of another network")
        return tensor.to(fresh.dtype)  # a worker on another processor may have kept it in another precision

    state = map_state(take, like)
    if next(used, None) is not None:
        raise StateInvalid("the saved stream state is of another network")
    return state
