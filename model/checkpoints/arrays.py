"""Arrays in the safetensors format, without torch. NumPy has no bfloat16; its bits are kept as uint16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import TensorSpec, deserialize, serialize

Array = NDArray[Any]

_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def arrays_of_bytes(data: bytes) -> dict[str, Array]:
    """The arrays in safetensors `data`, writable; bfloat16 becomes float32.

    Raises:
        SafetensorError: it is damaged.
        ValueError: it has numbers of another kind, such as float8.
    """
    return {name: _array(name, view) for name, view in deserialize(data)}  # type: ignore[no-untyped-call]


def bytes_of_arrays(arrays: Mapping[str, Array]) -> bytes:
    """The arrays in the safetensors format; uint16 is written as bfloat16."""
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return bytes(serialize({name: _spec(array) for name, array in kept.items()}))


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16; ties go to the even one. `values` must be finite."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Widen bfloat16 values, given as their 16 bits, to float32. Exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _array(name: str, view: Mapping[str, Any]) -> Array:
    kind, shape = view["dtype"], view["shape"]
    if kind == "BF16":
        return from_bfloat16(np.frombuffer(view["data"], np.uint16)).reshape(shape)
    if kind not in _TYPES:
        raise ValueError(f"{name} contains numbers of the type {kind}, which is not supported")
    return np.frombuffer(view["data"], _TYPES[kind]).reshape(shape)


def _spec(array: Array) -> TensorSpec:
    kind = "bfloat16" if array.dtype == np.uint16 else array.dtype.name
    return TensorSpec(dtype=kind, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)
