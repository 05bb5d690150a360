"""The layer names of the authors' implementation, and loading its weights into ours.

The student is PyTorchVideo's X3D with the motion branch next to it; the head is a separate file. The weights are for
RGB frames. The authors' end-to-end script feeds them BGR; here nothing is swapped, and the network is fed RGB.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from model.checkpoints.checkpoint import load_weights, tensors_of
from model.checkpoints.classifiers import ClipClassifiers
from model.checkpoints.foreign_weights import fit_weights
from model.checkpoints.pytorchvideo_weights import x3d_layer
from model.checkpoints.stored import CheckpointError
from model.network.cake import Cake

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
    """The authors' name for one of our tensors in the trunk or the motion branch."""
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
    """The authors' name for one of our tensors in the head."""
    _, layer, tensor = name.split(".")
    return f"{_HEAD[layer]}.{tensor}"


def load_reference_student(
    model: Cake, weights: Mapping[str, Tensor], file: str, attention_temperature: float = 1.0
) -> None:
    """Load the student's weights into all of `model` except its head; its configuration must be `cake-s`.

    The authors' training divides the attentions' logits by a temperature that falls over the epochs, and does not store
    it. Here the weights that produce the logits are divided by it, so that the network is the one that was evaluated,
    and the checkpoint is complete.

    The two 400-way Kinetics classifiers are not included: see `reference_classifiers`.

    Raises:
        CheckpointError: says what does not fit, and names `file`.
    """
    expected = tensors_of(model, STUDENT_PARTS)
    fitted = fit_weights(weights, expected, student_name, _KINETICS_CLASSIFIERS, file)
    logits = tuple(f".attention.{gate}." for gate in _ATTENTION if gate not in ("reduce", "norm"))
    cooled = {
        name: tensor / attention_temperature if any(gate in name for gate in logits) else tensor
        for name, tensor in fitted.items()
    }
    load_weights(model, model.state_dict() | cooled)


def reference_classifiers(weights: Mapping[str, Tensor]) -> ClipClassifiers | None:
    """The student's two classifiers of clips; None if the file lacks them."""
    names = [f"{head}.proj.{tensor}" for head in ("head", "flow_head") for tensor in ("weight", "bias")]
    if not all(name in weights for name in names):
        return None
    return ClipClassifiers(*(weights[name].float().numpy() for name in names))


def load_reference_head(model: Cake, weights: Mapping[str, Tensor], file: str) -> None:
    """Load the head's weights into `model.head`; the number of labels must equal its number of classes."""
    classes, labels = weights.get("f_classification.0.bias"), model.config.labels
    if classes is not None and classes.shape != (len(labels),):
        raise CheckpointError(
            f"{file} scores {classes.numel()} classes, but there are {len(labels)} labels, the background with them; "
            "name every class in the file's order, the background first"
        )
    load_weights(model, model.state_dict() | fit_weights(weights, tensors_of(model, ("head",)), head_name, (), file))
