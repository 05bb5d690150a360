"""Checkpoints: a folder with `model.safetensors` (weights) and `model.json` (the `ModelConfig`). Loading is strict.

Also reads the weights of the authors' reference implementation, whose layers have other names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from model.cake import Cake
from model.config import ConfigInvalid, ModelConfig

SHIPPED_DIR = Path(__file__).parent / "weights"
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "model.json"


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


def save_checkpoint(folder: Path, model: Cake, config: ModelConfig | None = None) -> None:
    """Write weights and configuration (the model's own unless given). Each file replaces its older one in one move."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, partial = folder / WEIGHTS_FILE, folder / f"{WEIGHTS_FILE}.partial"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, partial)
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


def load_checkpoint(name_or_path: str | Path) -> tuple[Cake, str]:
    """The network, in evaluation mode, and its version: 12 hex digits of the SHA-256 of weights and config."""
    folder = find_checkpoint(name_or_path)
    config = read_config(folder)
    try:
        data = (folder / WEIGHTS_FILE).read_bytes()
        weights = load(data)
    except (OSError, SafetensorError) as error:
        raise CheckpointInvalid(f"{folder.name}/{WEIGHTS_FILE} cannot be read: {error}") from error
    model = Cake(config)
    load_weights(model, weights)
    digest = hashlib.sha256(data + (folder / CONFIG_FILE).read_bytes())
    return model.eval(), digest.hexdigest()[:12]


def load_weights(model: Cake, weights: Mapping[str, Tensor]) -> None:
    """Strict: every parameter and buffer must be there in its shape, and nothing else."""
    expected = model.state_dict()
    missing, unknown = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or unknown:
        raise CheckpointInvalid(f"weights do not fit the configuration; missing: {missing[:8]}, unknown: {unknown[:8]}")
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            raise CheckpointInvalid(f"{name} has shape {tuple(weights[name].shape)}, not {tuple(tensor.shape)}")
    model.load_state_dict(dict(weights))


_ODCONV = (
    (r"\.attention\.fc\.", ".attention.reduce."),
    (r"\.attention\.bn\.", ".attention.norm."),
    (r"\.channel_fc\.", ".input_channel."),
    (r"\.filter_fc\.", ".output_channel."),
    (r"\.spatial_fc\.", ".position."),
    (r"\.kernel_fc\.", ".kernel."),
)
_FEATURE_HEAD = (
    (r"\.pool\.pre_conv\.", ".widen."),
    (r"\.pool\.pre_norm\.", ".norm."),
    (r"\.pool\.post_conv\.", ".project."),
)
_STUDENT_NAMES = (
    (r"^blocks\.0\.conv\.conv_t\.", "trunk.stem.spatial."),
    (r"^blocks\.0\.conv\.conv_xy\.", "trunk.stem.temporal."),
    (r"^blocks\.0\.norm\.", "trunk.stem.norm."),
    (r"^blocks\.([1-4])\.res_blocks\.", lambda match: f"trunk.stages.{int(match[1]) - 1}."),
    (r"\.branch1_conv\.", ".shortcut."),
    (r"\.branch1_norm\.", ".shortcut_norm."),
    (r"\.branch2\.conv_a\.", ".expand."),
    (r"\.branch2\.norm_a\.", ".expand_norm."),
    (r"\.branch2\.conv_b\.", ".depthwise."),
    (r"\.branch2\.norm_b\.0\.", ".depthwise_norm."),
    (r"\.branch2\.norm_b\.1\.block\.0\.", ".squeeze.reduce."),
    (r"\.branch2\.norm_b\.1\.block\.2\.", ".squeeze.expand."),
    (r"\.branch2\.conv_c\.", ".project."),
    (r"\.branch2\.norm_c\.", ".project_norm."),
    (r"^head\.", "static_head."),
    (r"^flow_head\.", "motion_head."),
    (r"^flow_adapter\.0\.", "motion.adapt_depthwise."),
    (r"^flow_adapter\.1\.", "motion.adapt_depthwise_norm."),
    (r"^flow_adapter\.3\.", "motion.adapt_pointwise."),
    (r"^flow_adapter\.4\.", "motion.adapt_pointwise_norm."),
    (r"^hallucinator\.time_odconv\.", "motion.temporal."),
    (r"^hallucinator\.bn1\.", "motion.temporal_norm."),
    (r"^hallucinator\.space_odconv\.", "motion.spatial."),
    (r"^hallucinator\.bn2\.", "motion.spatial_norm."),
    *_FEATURE_HEAD,
    *_ODCONV,
)
_HEAD_NAMES = (
    (r"^layer1\.0\.", "head.fuse."),
    (r"^layer1\.1\.", "head.fuse_norm."),
    (r"^gru\.", "head.gru."),
    (r"^f_classification\.0\.", "head.classify."),
)
_KINETICS_CLASSIFIERS = ("head.proj.", "flow_head.proj.")


def load_reference(model: Cake, student: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> None:
    """Put the reference implementation's student and head weights into `model` (its configuration must be `cake-s`).

    The two 400-way Kinetics classifiers are left out, as CAKE's own head takes their place. `CheckpointInvalid` names
    the first keys that are missing or unknown.
    """
    features = {name: tensor for name, tensor in student.items() if not name.startswith(_KINETICS_CLASSIFIERS)}
    renamed = {_rename(name, _STUDENT_NAMES): tensor for name, tensor in features.items()}
    renamed |= {_rename(name, _HEAD_NAMES): tensor for name, tensor in head.items()}
    expected = model.state_dict()
    load_weights(model, {name: _without_unit_dims(tensor, expected.get(name)) for name, tensor in renamed.items()})


def _rename(name: str, rules: tuple[tuple[str, object], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)  # type: ignore[call-overload]
    return name


def _without_unit_dims(tensor: Tensor, expected: Tensor | None) -> Tensor:
    """The reference writes its 2-D and linear layers as 3-D convolutions: same numbers, further dimensions of one."""
    if expected is None or tensor.shape == expected.shape:
        return tensor
    same = [size for size in tensor.shape if size != 1] == [size for size in expected.shape if size != 1]
    return tensor.reshape(expected.shape) if same else tensor
