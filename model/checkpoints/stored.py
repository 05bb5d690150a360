"""Reads checkpoints without torch: folders with `model.safetensors` (weights) and `model.json`.

A checkpoint holds whole parts of the network, usually all of them. One that lacks some, such as an imported trunk, is a
starting point for training and not a model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError

from model.atomic import write_text_atomically
from model.checkpoints.arrays import Array, arrays_of_bytes
from model.checkpoints.folders import CONFIG_FILE, WEIGHTS_FILE, find_checkpoint
from model.checkpoints.reference_scores import (
    SCORES_FILE,
    Histograms,
    ReferenceScoresError,
    parse_reference_scores,
)
from model.config import ConfigError, ModelConfig
from model.network.geometry import check_takes_video

PARTS = ("trunk", "static_head", "motion", "motion_head", "head")
"""The children of `Cake`, in the order in which they are trained."""
VERSION_DIGITS = 12


class CheckpointError(ValueError):
    """The folder exists, but its weights or configuration are damaged or do not match each other."""


@dataclass(frozen=True)
class StoredNetwork:
    """A complete model as stored in its checkpoint. The weights are not yet compared with the configuration."""

    config: ModelConfig
    weights: Mapping[str, Array]
    digest: str
    """SHA-256 of weights and configuration, in hex."""
    reference_scores: Histograms = field(default_factory=dict)
    """By label, the scores at calibration (see `reference_scores`); empty if it was last calibrated before these
    were stored.
    """

    @property
    def version(self) -> str:
        """The beginning of the digest."""
        return self.digest[:VERSION_DIGITS]

    def arrays(self) -> Mapping[str, Array]:
        """Parameters and buffers by their names in `Cake`."""
        return self.weights


def read_network(name_or_path: str | Path) -> StoredNetwork:
    """A complete model. Raises CheckpointError, also for a starting point for training, and CheckpointNotFoundError."""
    folder = find_checkpoint(name_or_path)
    try:
        config, data = (folder / CONFIG_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes()
        scores = (folder / SCORES_FILE).read_bytes() if (folder / SCORES_FILE).is_file() else None
    except OSError as error:
        raise CheckpointError(f"{folder.name} cannot be read: {error}") from error
    return network_of_bytes(folder.name, config, data, scores)


def network_of_bytes(name: str, config_json: bytes, data: bytes, scores_json: bytes | None = None) -> StoredNetwork:
    """A complete model from the contents of its files; `name` is for messages. Raises CheckpointError."""
    config = _parsed_config(name, config_json)
    weights = _parsed_weights(name, data)
    held = {part_of(tensor) for tensor in weights}
    if held == {"head"}:
        static, motion = config.head.feature_widths
        raise CheckpointError(
            f"{name} contains only a head, for stored features of {static} and {motion} numbers per frame, and "
            "cannot analyse video. Measure it on such features with cake eval. A complete model needs a student: write "
            "its features with cake features --model STUDENT, and train a head on them with cake train --from STUDENT"
        )
    if held and held < set(PARTS):
        untrained = ", ".join(part for part in PARTS if part not in held)
        raise CheckpointError(
            f"{name} is a starting point for training, not a complete model: it lacks {untrained}; "
            f"train it with: cake train --config {config.name} --from {name}"
        )
    try:
        check_takes_video(config)
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    try:
        reference_scores = {} if scores_json is None else parse_reference_scores(scores_json)
    except ReferenceScoresError as error:
        raise CheckpointError(f"{name}: {error}") from error
    return StoredNetwork(config, weights, hashlib.sha256(data + config_json).hexdigest(), reference_scores)


def write_config(folder: Path, config: ModelConfig) -> None:
    """Write `model.json` into the folder, atomically."""
    write_text_atomically(folder / CONFIG_FILE, json.dumps(config.to_json(), indent=2) + "\n")


def read_config(folder: Path) -> ModelConfig:
    """Read `model.json` of a checkpoint folder. Raises CheckpointError."""
    try:
        return _parsed_config(folder.name, (folder / CONFIG_FILE).read_bytes())
    except OSError as error:
        raise CheckpointError(f"{folder.name}/{CONFIG_FILE}: {error}") from error


def _parsed_config(name: str, text: bytes) -> ModelConfig:
    try:
        return ModelConfig.from_json(json.loads(text.decode()))
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{name}/{CONFIG_FILE}: expected JSON in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name}/{CONFIG_FILE}: {error}") from error


def read_weights(folder: Path) -> tuple[dict[str, Array], str]:
    """The weights, all of them finite, and the digest (see `StoredNetwork`)."""
    try:
        data = (folder / WEIGHTS_FILE).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder.name}/{WEIGHTS_FILE} cannot be read: {error}") from error
    weights = _parsed_weights(folder.name, data)
    return weights, hashlib.sha256(data + (folder / CONFIG_FILE).read_bytes()).hexdigest()


def _parsed_weights(name: str, data: bytes) -> dict[str, Array]:
    try:
        weights = arrays_of_bytes(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{name}/{WEIGHTS_FILE} cannot be read: {error}") from error
    for tensor, array in weights.items():
        with np.errstate(over="ignore"):
            # As the network takes them: a number of double precision can be too large.
            is_finite = np.isfinite(np.asarray(array, np.float32))
        # This must be detected here: the served graph turns NaN into a number, so its scores would look valid.
        if not is_finite.all():
            bad = int((~is_finite).sum())
            raise CheckpointError(
                f"{name}/{WEIGHTS_FILE}: {tensor} has {bad} of {array.size} values that are NaN or infinite; "
                "the training that wrote it diverged"
            )
    return weights


def checkpoint_version(name_or_path: str | Path) -> str:
    """12 hex digits of the SHA-256 of weights and configuration."""
    return read_weights(find_checkpoint(name_or_path))[1][:VERSION_DIGITS]


def parts_of(name_or_path: str | Path) -> tuple[str, ...]:
    """The names of the parts that a checkpoint holds, in the order of `PARTS`."""
    held = {part_of(name) for name in read_weights(find_checkpoint(name_or_path))[0]}
    return tuple(part for part in PARTS if part in held)


def part_of(name: str) -> str:
    """The part of the network that a tensor of this name belongs to."""
    return name.partition(".")[0]


def check_fit(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Strict: raise CheckpointError unless every expected name is present with its shape, and nothing else."""
    missing, unknown = _first(expected.keys() - found.keys()), _first(found.keys() - expected.keys())
    if missing or unknown:
        raise CheckpointError(f"weights do not match the configuration; missing: {missing}, unknown: {unknown}")
    for name, shape in expected.items():
        if found[name] != shape:
            raise CheckpointError(f"{name} has shape {found[name]}, not {shape}")


def _first(names: Collection[str]) -> list[str]:
    return sorted(names)[:8]
