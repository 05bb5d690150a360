"""Weight files of other implementations: read without running code in them, and matched by name."""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from model.checkpoints.stored import CheckpointError

WRAPPERS = ("model_state", "model_state_dict", "state_dict", "model")
"""Entries under which training scripts store the weights, next to the optimizer and other state."""
PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that `DataParallel` and `torch.compile` add to every name."""
_SHOWN = 4
_MARKS = {
    "hallucinator.": "It looks like the authors' student: give it with --student",
    "f_classification.": "It looks like the authors' head: give it with --head",
    "blocks.5.": "It looks like PyTorchVideo's X3D: give it with --x3d",
}


def read_foreign_weights(path: Path) -> dict[str, Tensor]:
    """The named tensors of a PyTorch file (.pt, .pth, .pyth), without wrapper and prefix.

    Never runs code in the file. Raises `CheckpointError` for any file that is not one of named tensors.
    """
    weights = _unwrapped(_unpickled(path), path.name)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    for name, tensor in weights.items():
        if tensor.layout != torch.strided or tensor.is_quantized or not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path.name}: {name} is quantized, sparse, or holds a value that is not finite")
    return weights


def _unpickled(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            # torch rejects what it warns of here (TorchScript archives and other pickle protocols), so the error
            # suffices.
            warnings.filterwarnings("ignore", message="'torch.load' received a zip file", category=UserWarning)
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} is not a PyTorch weight file, or contains more than tensors. Code in it is never run: "
            "save only the network's state_dict(), with torch.save"
        ) from error
    except _DAMAGED as error:
        raise CheckpointError(f"{path.name} is damaged, or not a PyTorch weight file") from error


_DAMAGED = (
    struct.error,
    EOFError,
    MemoryError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    OverflowError,
)
"""Exceptions that torch's readers raise for a truncated or foreign file."""


def _unwrapped(content: object, file: str) -> dict[str, Tensor]:
    """The first dictionary of tensors, searched for at the top level and then under each of `WRAPPERS`."""
    if isinstance(content, Mapping):
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return {str(name): tensor for name, tensor in content.items()}
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                return _unwrapped(content[wrapper], file)
    raise CheckpointError(f"{file} contains no dictionary of tensors, at the top level or under: {', '.join(WRAPPERS)}")


def fit_weights(
    weights: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    their_name: Callable[[str], str],
    unused: tuple[str, ...],
    file: str,
) -> dict[str, Tensor]:
    """The tensors of a file under our names: those in `expected`; `their_name` gives the name in the file for ours.

    Other tensors are accepted, as layers that CAKE does not use, if their names begin with one of `unused`. Norms'
    counters of batches may be missing: no output depends on them. `CheckpointError` counts the tensors that are
    missing, unknown or of another shape, and gives their names in the file.
    """
    ours = {their_name(name): name for name in expected}
    missing = sorted(name for name in ours if name not in weights and not name.endswith("num_batches_tracked"))
    unknown = sorted(name for name in weights if name not in ours and not name.startswith(unused))
    reshaped = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(expected[ours[name]].shape)}"
        for name in sorted(ours.keys() & weights.keys())
        if _without_ones(weights[name]) != _without_ones(expected[ours[name]])
    ]
    found = {"missing": missing, "unknown": unknown, "of another shape": reshaped}
    if any(found.values()):
        differences = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in found.items() if names)
        raise CheckpointError(
            f"{file} does not match the {len(ours)} expected tensors: {differences}. {_advice(weights, ours)}"
        )
    return {
        our_name: weights.get(name, torch.zeros(())).reshape(expected[our_name].shape)
        for name, our_name in ours.items()
    }


def _advice(weights: Iterable[str], wanted: Iterable[str]) -> str:
    for mark, advice in _MARKS.items():
        if any(name.startswith(mark) for name in weights) and not any(name.startswith(mark) for name in wanted):
            return advice
    return "Give the file as its training script or model zoo wrote it"


def _without_ones(tensor: Tensor) -> list[int]:
    """Some write 2-D and linear layers as 3-D convolutions: the same numbers with additional dimensions of size one."""
    return [size for size in tensor.shape if size != 1]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
