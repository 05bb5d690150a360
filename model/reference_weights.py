"""The layer names of the authors' implementation, and its weights in ours.

The student is PyTorchVideo's X3D with the motion branch beside it; the head is a file of its own. The weights are for
RGB frames. The authors' end-to-end script feeds them BGR; here nothing is swapped, and the network is fed RGB.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from model.cake import Cake
from model.checkpoint import CheckpointInvalid, load_weights, tensors_of
from model.foreign_weights import fit_weights
from model.pytorchvideo_weights import x3d_layer

STUDENT_PARTS = ("trunk", "static_head", "motion", "motion_head")
_MOTION = {
    "adapt_depthwise": "flow_adapter.0",
    "adapt_depthwise_norm": "flow_adapter.1",
    "adapt_pointwise": "flow_adapter.3",
    "adapt_pointwise_norm": "flow_adapter.4",
    "temporal": "hallucinator.time_odconv",
    "temporal_norm": "hallucinator.bn1",
    "spatial": "hallucinator.space_odconv",
    "spatial_norm": "hallucinator.bn2",
}
_ATTENTION = {
    "reduce": "fc",
    "norm": "bn",
    "input_channel": "channel_fc",
    "output_channel": "filter_fc",
    "position": "spatial_fc",
    "kernel": "kernel_fc",
}
_HEAD = {"fuse": "layer1.0", "fuse_norm": "layer1.1", "gru": "gru", "classify": "f_classification.0"}
_KINETICS_CLASSIFIERS = ("head.proj.", "flow_head.proj.")


def student_name(name: str) -> str:
    layer, _, tensor = name.rpartition(".")
    match layer.split("."):
        case ["motion", part]:
            return f"{_MOTION[part]}.{tensor}"
        case ["motion", part, "attention", gate]:
            return f"{_MOTION[part]}.attention.{_ATTENTION[gate]}.{tensor}"
        case ["motion_head", _]:
            return f"{x3d_layer(layer, head='flow_head')}.{tensor}"
    return f"{x3d_layer(layer, head='head')}.{tensor}"


def head_name(name: str) -> str:
    _, layer, tensor = name.split(".")
    return f"{_HEAD[layer]}.{tensor}"


def load_student(model: Cake, weights: Mapping[str, Tensor], file: str) -> None:
    """Put the student's weights into all of `model` but its head; its configuration must be `cake-s`.

    The two 400-way Kinetics classifiers are left out. `CheckpointInvalid` says what does not fit, and names `file`.
    """
    expected = tensors_of(model, STUDENT_PARTS)
    load_weights(model, model.state_dict() | fit_weights(weights, expected, student_name, _KINETICS_CLASSIFIERS, file))


def load_head(model: Cake, weights: Mapping[str, Tensor], file: str) -> None:
    """Put the head's weights into `model.head`; there must be as many labels as it has classes."""
    classes, labels = weights.get("f_classification.0.bias"), model.config.labels
    if classes is not None and classes.shape != (len(labels),):
        raise CheckpointInvalid(
            f"{file} scores {classes.numel()} classes, but there are {len(labels)} labels, the background with them; "
            "name every class in the file's order, the background first"
        )
    load_weights(model, model.state_dict() | fit_weights(weights, tensors_of(model, ("head",)), head_name, (), file))
