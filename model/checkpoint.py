"""Checkpoints: a folder with `model.safetensors` (weights) and `model.json` (the `ModelConfig`). Loading is strict.

A checkpoint holds whole parts of the network, as a rule all of them. One that lacks some, as an imported trunk does, is
a start for training (`load_parts`) and is refused by `load_checkpoint`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from model.cake import Cake
from model.config import ConfigInvalid, ModelConfig, TrunkConfig

SHIPPED_DIR = Path(__file__).parent / "weights"
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "model.json"
PARTS = ("trunk", "static_head", "motion", "motion_head", "head")
"""The children of `Cake`, in the order in which they are trained."""


class CheckpointNotFound(LookupError):
    """There is no model of this name, and no checkpoint folder at this path."""


class CheckpointInvalid(ValueError):
    """The folder is there, but its weights or configuration are damaged or do not fit each other."""


def available_models() -> list[str]:
    """Names of the checkpoints that ship with the package, sorted."""
    return sorted(path.parent.name for path in SHIPPED_DIR.glob(f"*/{CONFIG_FILE}"))


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The folder of a shipped model's name or of a path. A bare name never reaches outside the shipped models."""
    if str(name_or_path) in available_models():
        return SHIPPED_DIR / str(name_or_path)
    folder = Path(name_or_path)
    if (folder / CONFIG_FILE).is_file():
        return folder
    known = ", ".join(available_models()) or "none"
    raise CheckpointNotFound(f"no model {str(name_or_path)!r}; give a folder with {CONFIG_FILE}, or one of: {known}")


def save_checkpoint(
    folder: Path, model: Cake, config: ModelConfig | None = None, parts: Collection[str] = PARTS
) -> None:
    """Write weights (of all parts unless some are named) and configuration (the model's own unless given).

    Each file replaces its older one in one move.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights, partial = folder / WEIGHTS_FILE, folder / f"{WEIGHTS_FILE}.partial"
    save_file({name: tensor.contiguous() for name, tensor in tensors_of(model, parts).items()}, partial)
    partial.replace(weights)
    write_config(folder, config or model.config)


def write_config(folder: Path, config: ModelConfig) -> None:
    partial = folder / f"{CONFIG_FILE}.partial"
    partial.write_text(json.dumps(config.to_json(), indent=2) + "\n")
    partial.replace(folder / CONFIG_FILE)


def read_config(folder: Path) -> ModelConfig:
    try:
        return ModelConfig.from_json(json.loads((folder / CONFIG_FILE).read_text()))
    except (OSError, json.JSONDecodeError, ConfigInvalid) as error:
        raise CheckpointInvalid(f"{folder.name}/{CONFIG_FILE}: {error}") from error


def part_of(name: str) -> str:
    """The part of the network that a tensor of this name belongs to."""
    return name.partition(".")[0]


def tensors_of(model: Cake, parts: Collection[str]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if part_of(name) in parts}


def load_checkpoint(name_or_path: str | Path) -> tuple[Cake, str]:
    """The network, in evaluation mode, and its version. `CheckpointInvalid` when it is a start for training."""
    folder = find_checkpoint(name_or_path)
    model = Cake(read_config(folder))
    weights, version = _read_weights(folder)
    held = {part_of(name) for name in weights}
    if held and held < set(PARTS):
        untrained = ", ".join(part for part in PARTS if part not in held)
        raise CheckpointInvalid(
            f"{folder.name} is a start for training, not a whole model: it lacks {untrained}; "
            f"train it with: cake train --config {model.config.name} --init {folder.name}"
        )
    load_weights(model, weights)
    return model.eval(), version


def checkpoint_version(name_or_path: str | Path) -> str:
    """12 hex digits of the SHA-256 of weights and configuration."""
    return _read_weights(find_checkpoint(name_or_path))[1]


def load_parts(name_or_path: str | Path, trunk: TrunkConfig, modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Begin `modules`, each under the name of the part it stands for, with what a checkpoint holds of these parts.

    `trunk` is the configuration that the modules were built with; the checkpoint's must equal it. A part that the
    checkpoint holds is loaded strictly: every tensor in its shape and nothing else. Returns the names of the parts
    loaded, in the order of `PARTS`; the others stay as they are. `CheckpointInvalid` when there is none, or when one
    does not fit; `CheckpointNotFound` as in `find_checkpoint`.
    """
    folder = find_checkpoint(name_or_path)
    config = read_config(folder)
    if config.trunk != trunk:
        raise CheckpointInvalid(
            f"{folder.name} has the trunk of {config.name}, of another architecture than the one to be trained"
        )
    weights, _ = _read_weights(folder)
    held = tuple(part for part in PARTS if part in modules and any(part_of(name) == part for name in weights))
    if not held:
        raise CheckpointInvalid(f"{folder.name} holds none of: {', '.join(modules)}")
    for part in held:
        own = {name.removeprefix(f"{part}."): tensor for name, tensor in weights.items() if part_of(name) == part}
        load_weights(modules[part], own)
    return held


def _read_weights(folder: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors and the version."""
    try:
        data = (folder / WEIGHTS_FILE).read_bytes()
        weights = load(data)
    except (OSError, SafetensorError) as error:
        raise CheckpointInvalid(f"{folder.name}/{WEIGHTS_FILE} cannot be read: {error}") from error
    return weights, hashlib.sha256(data + (folder / CONFIG_FILE).read_bytes()).hexdigest()[:12]


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Strict: every parameter and buffer must be there in its shape, and nothing else."""
    expected = model.state_dict()
    missing, unknown = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or unknown:
        raise CheckpointInvalid(f"weights do not fit the configuration; missing: {missing[:8]}, unknown: {unknown[:8]}")
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            raise CheckpointInvalid(f"{name} has shape {tuple(weights[name].shape)}, not {tuple(tensor.shape)}")
    model.load_state_dict(dict(weights))
