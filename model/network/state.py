"""The state of a causal network: nested dataclasses of tensors whose first dimension is the stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

from torch import Tensor

StateT = TypeVar("StateT")


def map_state(function: Callable[..., Tensor], *states: StateT) -> StateT:
    """A state whose tensors are `function` applied to the corresponding tensors of all `states`."""
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
