"""A start for a network on plain frames, from one that also sees the frames' differences.

    python -m model.training.ablation.plain mocap OUT

Everything but the first layer's weights for the differences is kept. Such a network must be trained before it is used.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from model.architectures import cake_xs_rgb
from model.checkpoints.checkpoint import load_parts, save_parts
from model.checkpoints.folders import find_checkpoint
from model.checkpoints.stored import CheckpointError, read_config
from model.network.feature_head import FeatureHead
from model.network.x3d import Trunk

_FIRST_LAYER = "stem.spatial.weight"


def drop_difference(name_or_path: str, out: Path) -> None:
    """Write the trunk and the static head of a `cake-xs` as those of a `cake-xs-rgb`.

    `CheckpointError` for another network.
    """
    found = read_config(find_checkpoint(name_or_path))
    config = cake_xs_rgb(found.labels)
    if replace(found.trunk, frame_difference=False) != config.trunk or not found.trunk.frame_difference:
        raise CheckpointError(f"{name_or_path}: expected a cake-xs, which sees the differences of frames")
    seeing, plain = Trunk(found.trunk), Trunk(config.trunk)
    static_head = FeatureHead(config.trunk.widths[-1], config.head)
    load_parts(name_or_path, found.trunk, {"trunk": seeing, "static_head": static_head})
    weights = seeing.state_dict()
    weights[_FIRST_LAYER] = weights[_FIRST_LAYER][:, -config.trunk.input_channels :]
    plain.load_state_dict(weights)
    save_parts(out, {"trunk": plain, "static_head": static_head}, config)


if __name__ == "__main__":
    typer.run(drop_difference)
