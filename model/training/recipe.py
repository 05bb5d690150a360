"""How CAKE is trained: one frozen dataclass for each stage, read strictly from JSON.

A run's folder keeps the recipe with which it was started, and a stage that was started with another one is not
continued.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydantic import ConfigDict

_STRICT: ConfigDict = {"extra": "forbid"}


class StageName(StrEnum):
    """In order: each stage needs the previous ones."""

    TRUNK = "trunk"
    TEACHER = "teacher"
    DISTILL = "distill"
    FEATURES = "features"
    CONTRAST = "contrast"
    HEAD = "head"
    CALIBRATE = "calibrate"


class RecipeError(ValueError):
    """The recipe has an unknown field or an impossible value; the message names it."""


@dataclass(frozen=True)
class Schedule:
    """AdamW with a linear warm-up and a cosine to zero."""

    __pydantic_config__ = _STRICT

    steps: int
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    """Maximum norm of the gradient; larger gradients are scaled down to it."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warmup_steps < 0 or not 0 < self.learning_rate <= 1e30:
            raise RecipeError("a schedule needs steps >= 1, warmup_steps >= 0 and a positive learning_rate")
        if not self.clip_norm > 0 or not self.weight_decay >= 0:
            raise RecipeError("a schedule needs a positive clip_norm and a weight_decay of at least 0")


@dataclass(frozen=True)
class LabelWeights:
    """The weights of frames in the cross-entropy (see `losses.frame_loss`)."""

    __pydantic_config__ = _STRICT

    background: float = 0.6
    smoothing: float = 0.02
    onset_s: float = 0.4
    onset: float = 0.4
    """The first `onset_s` seconds of an action weigh less, because it looks like standing at first."""


@dataclass(frozen=True)
class SequenceRecipe:
    """A causal network of one stream, RGB or flow, trained with a label on every frame."""

    __pydantic_config__ = _STRICT

    schedule: Schedule = Schedule(steps=4000)
    sequences: int = 4
    """Number of sequences in each process and step."""
    sequence_steps: int = 32
    labels: LabelWeights = field(default_factory=LabelWeights)
    joint_weight: float = 2.0
    mask_weight: float = 0.5
    flip_share: float = 0.0
    """Share of the sequences that are mirrored; not for actions that differ by left and right."""
    start_share: float = 0.0
    """Share of the sequences that are drawn around the start of an action. Use it if actions are rare."""


@dataclass(frozen=True)
class DistillRecipe:
    """The motion adapter learns the teacher's map."""

    __pydantic_config__ = _STRICT

    schedule: Schedule = Schedule(steps=3000)
    loss: Literal["mse", "mgd", "cosine"] = "mse"
    freeze_trunk: bool = True
    sequences: int = 16
    sequence_steps: int = 48
    first_temperature: float = 5.0
    """Temperature of the dynamic convolutions' attention; it falls linearly to 1 over the first half of the steps."""
    mgd_mask: float = 0.3


@dataclass(frozen=True)
class ContrastRecipe:
    """Supervised contrastive learning with queues; `floating` leaves the background unattached (see `losses`)."""

    __pydantic_config__ = _STRICT

    schedule: Schedule = Schedule(steps=1500, learning_rate=1e-3)
    kind: Literal["floating", "plain", "none"] = "floating"
    windows: int = 64
    window_steps: int = 128
    dimension: int = 128
    queue_keys: int = 512
    momentum: float = 0.999
    temperature: float = 0.07
    masked_share: float = 0.5
    background_bias: float = -2.0
    pad_windows: bool = False
    """Also draw windows that begin before the stream, with zeros there, and use streams shorter than a window."""


@dataclass(frozen=True)
class HeadRecipe:
    """The classifier, on windows of features.

    A head of sigmoid scores learns the paper's focal loss on the last step of each window, one of softmax scores
    cross-entropy on every step.
    """

    __pydantic_config__ = _STRICT

    schedule: Schedule = Schedule(steps=1500, learning_rate=1e-3)
    windows: int = 32
    window_steps: int = 128
    labels: LabelWeights = field(default_factory=LabelWeights)
    pad_windows: bool = False
    """As in the contrast stage."""
    classifier_only: bool = False
    """Keep the GRU as the contrast stage left it, and train the classifier on top of it."""
    dropout: float | None = None
    """Replaces the network's own."""
    start: Literal["contrast", "trunk"] = "contrast"
    """The parameters to start with: those after the contrast stage, or those of the trunk stage's classifier, which
    learned from changing views of the images while the features still changed; in it, the motion feature has no
    effect yet. `trunk` takes the place of a contrast stage."""


@dataclass(frozen=True)
class Recipe:
    """All settings of a training, one field for each stage."""

    __pydantic_config__ = _STRICT

    seed: int = 0
    flow: Literal["dis", "raft"] = "dis"
    views: int = 4
    """Cached views of each training video from which the later stages learn: one of the whole image, the others of
    random crops."""
    flip_share: float = 0.0
    """Share of the cached views that are mirrored."""
    trunk_source: Literal["trained", "imported"] = "trained"
    """`imported`: the trunk of --from as it is, frozen, as in the paper; no trunk stage."""
    motion_source: Literal["distilled", "imported"] = "distilled"
    """`imported`: the motion branch of --from as it is; no teacher and no distillation."""
    trunk: SequenceRecipe = field(default_factory=SequenceRecipe)
    teacher: SequenceRecipe = field(default_factory=lambda: SequenceRecipe(Schedule(steps=2500)))
    distill: DistillRecipe = field(default_factory=DistillRecipe)
    contrast: ContrastRecipe = field(default_factory=ContrastRecipe)
    head: HeadRecipe = field(default_factory=HeadRecipe)

    def __post_init__(self) -> None:
        if self.motion_source == "imported" and not (self.trunk_source == "imported" and self.distill.freeze_trunk):
            raise RecipeError("motion_source 'imported' needs trunk_source 'imported' and distill.freeze_trunk")
        if self.head.classifier_only and self.contrast.kind == "none":
            raise RecipeError("head.classifier_only needs a contrast stage: without one the GRU would stay random")
        if self.head.start == "trunk" and self.contrast.kind != "none":
            raise RecipeError(
                "head.start 'trunk' needs contrast.kind 'none': the classifier starts with the trunk's parameters, "
                "not with those of the contrast stage"
            )

    def to_json(self) -> dict[str, Any]:
        """One object for `json.dumps`, which `from_json` reads."""
        return asdict(self)

    def shortened(self, effort: float) -> Recipe:
        """The same with `effort` times the steps of every stage, at least one."""

        def scale(schedule: Schedule) -> Schedule:
            steps, warmup_steps = (round(effort * each) for each in (schedule.steps, schedule.warmup_steps))
            return replace(schedule, steps=max(1, steps), warmup_steps=warmup_steps)

        return replace(
            self,
            trunk=replace(self.trunk, schedule=scale(self.trunk.schedule)),
            teacher=replace(self.teacher, schedule=scale(self.teacher.schedule)),
            distill=replace(self.distill, schedule=scale(self.distill.schedule)),
            contrast=replace(self.contrast, schedule=scale(self.contrast.schedule)),
            head=replace(self.head, schedule=scale(self.head.schedule)),
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """What `values` leaves out keeps its default. `RecipeError` names the first field that is wrong."""
        # Importing it takes longer than printing the help of the commands, which also need this module.
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            parts = map(str, first["loc"])
            where = ".".join(part if part.isidentifier() else repr(part) for part in parts) or "the whole"
            raise RecipeError(f"the recipe's {where}: {first['msg']}") from error


def paper_recipe() -> Recipe:
    """The settings of the authors' implementation for THUMOS'14, on an imported student.

    Trunk and motion branch come from their student, which was distilled on Kinetics-400, and stay frozen. Their epochs
    (100 of contrast, 50 of the classifier) are steps here: THUMOS'14's validation videos have about 44,000 windows, one
    every four frames. For other data, scale them with --effort.
    """
    return Recipe(
        flip_share=0.5,
        trunk_source="imported",
        motion_source="imported",
        trunk=SequenceRecipe(flip_share=0.5),
        teacher=SequenceRecipe(flip_share=0.5),
        distill=DistillRecipe(Schedule(steps=30_000, learning_rate=1e-3, weight_decay=1e-4, clip_norm=20.0)),
        contrast=ContrastRecipe(
            Schedule(steps=34_000, learning_rate=1e-4, weight_decay=1e-4, clip_norm=10.0), windows=128, pad_windows=True
        ),
        head=HeadRecipe(
            Schedule(steps=137_000, learning_rate=1e-4, weight_decay=1e-4), windows=16, pad_windows=True, dropout=0.5
        ),
    )


def people_recipe() -> Recipe:
    """The settings of the shipped model `people`: an hour and a half of two cores, for actions that are rare."""
    labels = LabelWeights(background=0.7, onset_s=0.3, onset=0.5)
    sequences = SequenceRecipe(
        Schedule(steps=1300, learning_rate=1e-3), sequences=3, labels=labels, flip_share=0.5, start_share=0.5
    )
    return Recipe(
        views=2,
        flip_share=0.5,
        trunk=sequences,
        teacher=replace(sequences, schedule=Schedule(steps=250, warmup_steps=50)),
        distill=DistillRecipe(Schedule(steps=400), sequence_steps=32),
        contrast=ContrastRecipe(Schedule(steps=300, learning_rate=1e-3)),
        head=HeadRecipe(Schedule(steps=700, learning_rate=1e-3), labels=labels),
    )


RECIPES = {"default": Recipe, "paper": paper_recipe, "people": people_recipe}
"""The named recipes."""
