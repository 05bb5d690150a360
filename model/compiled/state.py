"""The detector state of one stream as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from model.checkpoints.arrays import Array, arrays_of_bytes, bytes_of_arrays


class StateError(ValueError):
    """Saved bytes are not a state of this network."""


def save_state(frames: int, values: Sequence[Array]) -> bytes:
    """The number of frames seen, and then the values in order; bits of bfloat16 are uint16."""
    return bytes_of_arrays({f"{i:04d}": array for i, array in enumerate((np.array([frames]), *values))})


def load_state(saved: bytes, shapes: Sequence[tuple[int, ...]]) -> tuple[int, list[NDArray[np.float32]]]:
    """The values, of these shapes, that `save_state` saved. All are converted to float32, because a worker on another
    processor may have kept them in another precision.

    Raises:
        StateError: it is the state of another network, or damaged.
    """
    try:
        arrays = arrays_of_bytes(saved)
    except (SafetensorError, ValueError) as error:
        raise StateError(f"the saved stream state cannot be read: {error}") from error
    frames, *values = (arrays[name] for name in sorted(arrays)) if arrays else (np.empty(0),)
    if frames.shape != (1,) or frames.dtype != np.int64 or [value.shape for value in values] != list(shapes):
        raise StateError("the saved stream state is of another network")
    if not all(np.issubdtype(value.dtype, np.floating) for value in values):
        raise StateError("the saved stream state is of another network")
    return int(frames[0]), [value.astype(np.float32, copy=False) for value in values]
