"""Checkpoints to and from the network in torch (see `model.checkpoints.stored`). Loading is strict."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model.atomic import write_atomically
from model.checkpoints.arrays import Array
from model.checkpoints.folders import WEIGHTS_FILE, find_checkpoint
from model.checkpoints.stored import (
    PARTS,
    CheckpointError,
    check_fit,
    part_of,
    parts_of,
    read_config,
    read_network,
    read_weights,
    write_config,
)
from model.config import ModelConfig, TrunkConfig
from model.network.cake import Cake


def save_checkpoint(
    folder: Path, model: Cake, config: ModelConfig | None = None, parts: Collection[str] = PARTS
) -> None:
    """Write weights (of all parts unless some are named) and configuration (the model's own unless given).

    Each file replaces its predecessor atomically.
    """
    _write(folder, tensors_of(model, parts), config or model.config)


def save_parts(folder: Path, modules: Mapping[str, nn.Module], config: ModelConfig) -> None:
    """Write a checkpoint of single parts of the network, each under its name."""
    tensors = {f"{part}.{name}": tensor for part in modules for name, tensor in modules[part].state_dict().items()}
    _write(folder, tensors, config)


def _write(folder: Path, tensors: Mapping[str, Tensor], config: ModelConfig) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / WEIGHTS_FILE) as partial_path:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial_path)
    write_config(folder, config)


def tensors_of(model: Cake, parts: Collection[str]) -> dict[str, Tensor]:
    """The parameters and buffers of these parts of the network, by name."""
    return {name: tensor for name, tensor in model.state_dict().items() if part_of(name) in parts}


def load_checkpoint(name_or_path: str | Path) -> tuple[Cake, str]:
    """The network, in evaluation mode, and its version. `CheckpointError` when it is a start for training."""
    stored = read_network(name_or_path)
    model = Cake(stored.config)
    load_weights(model, _tensors(stored.weights))
    return model.eval(), stored.version


def load_feature_network(name_or_path: str | Path) -> Cake:
    """The network of a checkpoint that computes features, in evaluation mode. It may lack the head, which stays random.

    Raises:
        CheckpointError: another part is missing, or the checkpoint is damaged.
        CheckpointNotFoundError: there is no such checkpoint.
    """
    folder = find_checkpoint(name_or_path)
    missing = [part for part in PARTS[:-1] if part not in parts_of(folder)]
    if missing:
        raise CheckpointError(f"{folder.name} cannot make features: it lacks {', '.join(missing)}")
    model = Cake(read_config(folder))
    load_parts(folder, model.config.trunk, dict(model.named_children()))
    return model.eval()


def load_parts(name_or_path: str | Path, trunk: TrunkConfig, modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Initialise `modules`, given by the names of their parts, with the weights that a checkpoint holds for them.

    `trunk` is the configuration that the modules were built with; the checkpoint's must equal it. A part that the
    checkpoint holds is loaded strictly: every tensor with its shape and nothing else. Returns the names of the parts
    loaded, in the order of `PARTS`; the others stay as they are. `CheckpointError` when there is none, or when one does
    not fit; `CheckpointNotFoundError` as in `find_checkpoint`.
    """
    folder = find_checkpoint(name_or_path)
    config = read_config(folder)
    if config.trunk != trunk:
        raise CheckpointError(
            f"{folder.name} has the trunk of {config.name}, of another architecture than the one to be trained"
        )
    weights = _tensors(read_weights(folder)[0])
    held = tuple(part for part in PARTS if part in modules and any(part_of(name) == part for name in weights))
    if not held:
        raise CheckpointError(f"{folder.name} holds none of: {', '.join(modules)}")
    for part in held:
        own = {name.removeprefix(f"{part}."): tensor for name, tensor in weights.items() if part_of(name) == part}
        load_weights(modules[part], own)
    return held


def _tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load strictly: every parameter and buffer must be present with its shape, and nothing else."""
    check_fit(_shapes(weights), _shapes(model.state_dict()))
    model.load_state_dict(dict(weights))


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
