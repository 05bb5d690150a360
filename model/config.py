"""The configuration of a CAKE model as frozen dataclasses: architecture, sampling, labels and start rules.

A checkpoint stores one `ModelConfig` as JSON next to its weights. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from model.video.preprocess import FrameInput, Framing

if TYPE_CHECKING:
    from pydantic import ConfigDict

BACKGROUND = "background"
SETTLE_S = 0.5
"""For networks trained here. With two-second clips of fights, the area under the curve of the highest score rises
from 0.74 to 0.84 within 0.3 s and stays there (`people`, whole frames).
"""
# Below this share of its training rate, a network hardly recognises motion.
MIN_RATE_SHARE = 0.5

Precision = Literal["auto", "float32"]
"""The precision in which a network runs; `auto` is bfloat16 on a processor that supports it, otherwise float32."""

_STRICT: ConfigDict = {"extra": "forbid", "allow_inf_nan": False}
MAX_SIZE = 16_384
"""Of widths, depths, kernels and images: far above those of any network."""


class ConfigError(ValueError):
    """A stored configuration lacks a field, has an unknown one, or holds an impossible value."""


def _check_sizes(of: str, sizes: Iterable[int]) -> None:
    if not all(1 <= size <= MAX_SIZE for size in sizes):
        raise ConfigError(f"the sizes of the {of} must be from 1 to {MAX_SIZE:,}")


Mode = Literal["causal", "clip"]
"""How a network runs on a stream. `causal`: each frame is computed once. `clip`, as the paper's authors run it: the
scores of each frame come from the clip of frames that it ends, which are all computed again."""


@dataclass(frozen=True)
class StartRule:
    """When the scores of one label become an action start (see `model.thresholds`). Scores are in [0, 1]."""

    __pydantic_config__ = _STRICT

    enter: float
    leave: float
    min_duration_s: float = 0.0
    refractory_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.leave <= self.enter <= 1.0:
            raise ConfigError(f"a start rule needs 0 <= leave <= enter <= 1, not {self.leave} and {self.enter}")
        if self.min_duration_s < 0 or self.refractory_s < 0:
            raise ConfigError("min_duration_s and refractory_s must not be negative")


DEFAULT_START_RULE = StartRule(enter=0.5, leave=0.3, min_duration_s=0.2, refractory_s=1.0)
"""The rule of every action in a model that was not calibrated: the score reaches 0.5 and stays for 0.2 s."""


def rules_hash(rules: Mapping[str, StartRule]) -> str:
    """A fingerprint of rules by label; equal rules have the same one, in any order."""
    text = json.dumps({label: asdict(rule) for label, rule in rules.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class TrunkConfig:
    """The X3D trunk. The defaults are X3D-S (Feichtenhofer 2020)."""

    __pydantic_config__ = _STRICT

    input_channels: int = 3
    """3 for RGB; 2 for optical flow, in the teacher."""
    frame_difference: bool = False
    """Standardise each frame by its own mean and deviation, and append its difference from the previous frame."""
    stem_kernel: int = 3
    stem_stride: int = 2
    stem_taps: int = 5
    stem_width: int = 24
    widths: tuple[int, ...] = (24, 48, 96, 192)
    depths: tuple[int, ...] = (3, 5, 11, 7)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    expansion: float = 2.25
    squeeze_ratio: float = 1 / 16
    window_steps: int = 13
    """Steps over which squeeze-and-excitation and the dynamic convolutions average when run causally."""

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.depths) == len(self.strides):
            raise ConfigError("widths, depths and strides need one entry for each stage")
        stem = (self.input_channels, self.stem_kernel, self.stem_stride, self.stem_taps, self.stem_width)
        _check_sizes("trunk", (*stem, *self.widths, *self.depths, *self.strides, self.window_steps))
        if not (0 < self.expansion <= MAX_SIZE and 0 < self.squeeze_ratio <= MAX_SIZE):
            raise ConfigError(f"expansion and squeeze_ratio must be positive, and at most {MAX_SIZE:,}")

    @property
    def on_flow(self) -> TrunkConfig:
        """The same trunk on the two channels of optical flow, as in the teacher."""
        return replace(self, input_channels=2, frame_difference=False)

    @property
    def in_channels(self) -> int:
        """Channels of the stem's input, with those of the difference."""
        return self.input_channels * (2 if self.frame_difference else 1)


@dataclass(frozen=True)
class HeadConfig:
    """Pooling of both branches, their fusion, the GRU and the classifier."""

    __pydantic_config__ = _STRICT

    projection_width: int = 432
    feature_dim: int = 2048
    """Width of the static feature; 0 in a head that was trained only on motion features."""
    motion_dim: int | None = None
    """Width of the motion feature if it differs; 0 in a head that was trained only on static features."""
    pool: Literal["average", "average_max"] = "average"
    pool_size: int = 5
    """Side of the pooling window. A larger map (an image above 160 pixels) is projected window by window."""
    pool_steps: int = 13
    """Steps over which the pooled maps are averaged when run causally."""
    fused_dim: int = 2048
    hidden_dim: int = 1024
    residual: bool = False
    """Add the fused features to the GRU's output; needs fused_dim == hidden_dim."""
    dropout: float = 0.2
    activation: Literal["sigmoid", "softmax"] = "sigmoid"

    def __post_init__(self) -> None:
        if self.residual and self.fused_dim != self.hidden_dim:
            raise ConfigError("a residual GRU needs fused_dim == hidden_dim")
        widths = (self.projection_width, self.fused_dim, self.hidden_dim)
        _check_sizes("head", (*widths, self.pool_size, self.pool_steps))
        if not 0 <= self.dropout < 1:
            raise ConfigError("dropout must be at least 0 and below 1")
        if min(self.feature_widths) < 0 or not sum(self.feature_widths):
            raise ConfigError("feature_dim and motion_dim must not be negative, nor both 0")
        if max(self.feature_widths) > MAX_SIZE:
            raise ConfigError(f"feature_dim and motion_dim must be at most {MAX_SIZE:,}")

    @property
    def feature_widths(self) -> tuple[int, int]:
        """Widths of the static and of the motion feature; the head takes both side by side."""
        return self.feature_dim, self.feature_dim if self.motion_dim is None else self.motion_dim


@dataclass(frozen=True)
class ModelConfig:
    """Everything in a checkpoint besides its weights.

    `labels[0]` is the background. Frames are taken at `sample_hz` by media time and fed as squares of `image_size`
    pixels, made from the frame as `framing` says. Checkpoints written before `framing` existed use the centre square.
    """

    __pydantic_config__ = _STRICT

    name: str
    labels: tuple[str, ...]
    sample_hz: float
    image_size: int
    framing: Framing = "centre_crop"
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    motion_kernels: int = 4
    mode: Mode = "causal"
    start_rules: Mapping[str, StartRule] = field(default_factory=dict)
    """The actions that are reported, each with its rule; without a rule, an action is never reported."""
    start_rules_origin: Literal["calibrated", "default"] = "calibrated"
    """Whether the rules were chosen on labelled videos, or are `DEFAULT_START_RULE`."""
    candidate_rule: StartRule = StartRule(enter=0.2, leave=0.1)
    """The rule for the candidates that evaluation ranks, the same for every label: see `model.training.evaluation`."""
    display_names: Mapping[str, str] = field(default_factory=dict)
    """Names of labels for people, such as "getting up, face down" for `getup_facedown`; optional for each label."""
    settle_s: float = 0.0
    """How long a stream shows only the background when it begins: the first frames lack the past on which scores
    depend, so their scores mean little. `SETTLE_S` for networks of `cake train`.
    """

    def __post_init__(self) -> None:
        if not self.labels or self.labels[0] != BACKGROUND:
            raise ConfigError(f"labels must begin with {BACKGROUND!r}")
        if len(set(self.labels)) != len(self.labels):
            raise ConfigError("labels must differ from each other")
        _check_sizes("model", (self.image_size, self.motion_kernels))
        if not self.sample_hz > 0:
            raise ConfigError("sample_hz must be positive")
        if not 0 <= self.settle_s < float("inf"):
            raise ConfigError("settle_s must not be negative, nor infinite")
        unknown = sorted(set(self.start_rules) - set(self.labels[1:]))
        if unknown:
            raise ConfigError(f"start rules for labels that the model lacks: {', '.join(unknown)}")
        unnamed = sorted(set(self.display_names) - set(self.labels))
        if unnamed:
            raise ConfigError(f"display names of labels that the model lacks: {', '.join(unnamed)}")

    @property
    def settle_frames(self) -> int:
        """The number of first frames of a stream that show only the background."""
        return round(self.settle_s * self.sample_hz)

    @property
    def frame_input(self) -> FrameInput:
        """How frames become the network's input, in training, evaluation and serving alike."""
        return FrameInput(self.image_size, self.framing)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for users of this model about its start rules and its cost, as sentences."""
        return (*self._start_warnings(), *self._mode_warnings())

    def rate_warnings(self, rate_hz: float | None, model: str) -> list[str]:
        """Return what the network `model` misses in a source of `rate_hz` frames per second, as sentences."""
        if rate_hz is None or rate_hz >= MIN_RATE_SHARE * self.sample_hz:
            return []
        return [
            f"The source has {rate_hz:.2g} frames per second on average, and the model {model} was trained with "
            f"{self.sample_hz:g}. Expect missed and late actions; send more frames."
        ]

    def _mode_warnings(self) -> tuple[str, ...]:
        if self.mode == "causal":
            return ()
        frames = self.trunk.window_steps
        return (
            f"The model {self.name} runs in clip mode: for each analysed frame it computes the last {frames} frames "
            f"again, about {frames} times the work of causal mode, so a worker takes as many times fewer sessions.",
        )

    def _start_warnings(self) -> tuple[str, ...]:
        remedy = "Calibrate it on labelled videos with `cake train calibrate --data DIR --out FOLDER`."
        if not self.start_rules:
            return (f"The model {self.name} has no start rules, so it never reports an action. {remedy}",)
        if self.start_rules_origin == "default":
            rule = DEFAULT_START_RULE
            return (
                f"The start rules of the model {self.name} are not calibrated: an action starts when its score reaches "
                f"{rule.enter:g} and stays for {rule.min_duration_s:g} s. Expect missed and false starts. {remedy}",
            )
        return ()

    def with_default_rules(self) -> ModelConfig:
        """The same with `DEFAULT_START_RULE` for every action. Ambiguous is not an action (the authors' THUMOS'14 head
        has a class of that name).
        """
        actions = [label for label in self.labels[1:] if label.lower() != "ambiguous"]
        rules = dict.fromkeys(actions, DEFAULT_START_RULE)
        return replace(self, start_rules=rules, start_rules_origin="default")

    def with_calibrated_rules(self, rules: Mapping[str, StartRule], candidate_rule: StartRule) -> ModelConfig:
        """The same with rules that were chosen on labelled videos."""
        return replace(self, start_rules=rules, start_rules_origin="calibrated", candidate_rule=candidate_rule)

    def for_labels(self, labels: tuple[str, ...]) -> ModelConfig:
        """The same for other labels: without start rules, and with the display names of labels that stay."""
        names = {label: name for label, name in self.display_names.items() if label in labels}
        return replace(self, labels=labels, start_rules={}, display_names=names)

    def to_json(self) -> dict[str, Any]:
        """The content of `model.json`, for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Strict: a missing, unknown or mistyped field raises `ConfigError`."""
        # Importing it takes longer than printing the help of the commands, which also need this module.
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise ConfigError(
                f"the stored configuration is not one of this version: {where}: {first['msg']}"
            ) from error
