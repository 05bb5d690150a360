"""One network from several: the mean of their weights.

Networks that were trained from the same weights, on different data, often average to one that is better than each, at
the cost of one (M. Wortsman et al., "Model soups", 2022). Networks that started from different weights average to
noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from model.checkpoints.checkpoint import load_checkpoint, load_weights
from model.checkpoints.stored import CheckpointError
from model.config import ModelConfig, StartRule
from model.network.cake import Cake


def average_checkpoints(names_or_paths: Sequence[str | Path]) -> Cake:
    """The network whose weights and statistics are the means over these networks, with `DEFAULT_START_RULE`.

    Raises:
        ValueError: there are fewer than two.
        CheckpointError: they differ in architecture, labels, frame rate or input.
        CheckpointNotFoundError: one is missing.
    """
    if len(names_or_paths) < 2:
        raise ValueError("averaging needs at least two checkpoints")
    networks = [load_checkpoint(each)[0] for each in names_or_paths]
    config = _comparable(networks[0].config)
    for network, where in zip(networks, names_or_paths, strict=True):
        if _comparable(network.config) != config:
            raise CheckpointError(
                f"{where} and {names_or_paths[0]} differ in architecture, labels, frame rate or input"
            )
    average = Cake(config)
    states = [network.state_dict() for network in networks]
    load_weights(
        average,
        {
            name: torch.stack([state[name] for state in states]).mean(dim=0) if first.is_floating_point() else first
            for name, first in states[0].items()
        },
    )
    return average.eval()


def _comparable(config: ModelConfig) -> ModelConfig:
    """The configuration without what may differ: the name, and rules that were chosen for one network."""
    return replace(config, name="average", candidate_rule=StartRule(enter=0.2, leave=0.1)).with_default_rules()
