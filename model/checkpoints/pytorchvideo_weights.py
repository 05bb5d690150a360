"""PyTorchVideo's X3D (Feichtenhofer, CVPR 2020): its layer names, and its weights as initial weights of a CAKE network.

X3D-XS, S and M have the same layers, sampled differently; X3D-L has more blocks and does not fit. The files hold the
trunk and the static feature head. CAKE's motion branch and its own head are not in them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from model.checkpoints.checkpoint import load_weights, tensors_of
from model.checkpoints.foreign_weights import fit_weights
from model.checkpoints.stored import CheckpointError
from model.network.cake import Cake

X3D_PARTS = ("trunk", "static_head")
_STEM = {"spatial": "conv.conv_t", "temporal": "conv.conv_xy", "norm": "norm"}
_BLOCK = {
    "shortcut": "branch1_conv",
    "shortcut_norm": "branch1_norm",
    "expand": "branch2.conv_a",
    "expand_norm": "branch2.norm_a",
    "depthwise": "branch2.conv_b",
    "depthwise_norm": "branch2.norm_b.0",
    "squeeze.reduce": "branch2.norm_b.1.block.0",
    "squeeze.expand": "branch2.norm_b.1.block.2",
    "project": "branch2.conv_c",
    "project_norm": "branch2.norm_c",
}
_FEATURE_HEAD = {"widen": "pool.pre_conv", "norm": "pool.pre_norm", "project": "pool.post_conv"}


def x3d_layer(layer: str, head: str = "blocks.5") -> str:
    """PyTorchVideo's name for one of our layers, in the trunk or in a feature head, which is called `head` there."""
    match layer.split("."):
        case ["trunk", "stem", part]:
            return f"blocks.0.{_STEM[part]}"
        case ["trunk", "stages", stage, block, *part]:
            return f"blocks.{int(stage) + 1}.res_blocks.{block}.{_BLOCK['.'.join(part)]}"
        case [_, part]:
            return f"{head}.{_FEATURE_HEAD[part]}"
    raise ValueError(f"no layer of X3D: {layer}")


def x3d_name(name: str) -> str:
    """PyTorchVideo's name for one of our tensors."""
    layer, _, tensor = name.rpartition(".")
    return f"{x3d_layer(layer)}.{tensor}"


def load_x3d(model: Cake, weights: Mapping[str, Tensor], file: str) -> None:
    """Put PyTorchVideo's weights into the trunk and the static head of `model`, whose configuration must be `cake-s`,
    or that of a teacher, whose trunk takes optical flow.

    The 400-way Kinetics classifier is left out. `CheckpointError` says what does not match, and names `file`.
    """
    blocks = Counter(found[1] for name in weights if (found := re.fullmatch(_ONCE_A_BLOCK, name)))
    depths = tuple(blocks[str(stage + 1)] for stage in range(len(model.trunk.config.depths)))
    if all(depths) and depths != model.trunk.config.depths:
        raise CheckpointError(
            f"{file} has stages of {_listed(depths)} blocks (X3D-L has 5, 10, 25 and 15), CAKE's trunk has "
            f"{_listed(model.trunk.config.depths)}: give X3D-XS, X3D-S or X3D-M"
        )
    stem, channels = weights.get(x3d_name("trunk.stem.spatial.weight")), model.trunk.config.input_channels
    if stem is not None and stem.dim() == 5 and stem.shape[1] != channels:
        raise CheckpointError(
            f"{file} takes {stem.shape[1]} channels, not {channels}: give an X3D of RGB with --x3d, and one of optical "
            "flow with --flow-teacher"
        )
    fitted = fit_weights(weights, tensors_of(model, X3D_PARTS), x3d_name, ("blocks.5.proj.",), file)
    load_weights(model, model.state_dict() | fitted)


_ONCE_A_BLOCK = r"blocks\.(\d+)\.res_blocks\.\d+\.branch2\.conv_a\.weight"


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(str(number) for number in numbers)
