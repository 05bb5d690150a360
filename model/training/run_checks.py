"""Checks before a run that takes hours: the recipe's requirements, the labels, and the lengths of the videos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from model.checkpoints.stored import CheckpointError, parts_of, read_config
from model.config import ModelConfig
from model.training.frame_cache import FrameCache
from model.training.layouts.annotations import DataError, LabelledVideo, labels_of
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.recipe import Recipe, RecipeError
from model.training.views import MARGIN

USED_SUBSETS = ("training", "validation")


def check_flow(recipe: Recipe) -> None:
    """Raise RecipeError if the recipe's optical flow cannot be computed here, instead of failing after hours of
    training.
    """
    if recipe.flow == "raft" and find_spec("torchvision") is None:
        raise RecipeError(
            'the recipe\'s "flow": "raft" needs torchvision, which is not installed. Install the release that '
            'fits the installed torch, or use "flow": "dis"'
        )


def check_imports(recipe: Recipe, init: Path | None) -> None:
    """Before any work: the parts that the recipe takes from a checkpoint must exist."""
    wanted = ["trunk", "static_head"] if recipe.trunk_source == "imported" else []
    wanted += ["motion", "motion_head"] if recipe.motion_source == "imported" else []
    wanted += ["head"] if _takes_head_of_init(recipe) else []
    if wanted and init is None:
        raise RecipeError(f"the recipe imports {', '.join(wanted)}: name their checkpoint with --from")
    if init is not None and (missing := [part for part in wanted if part not in parts_of(init)]):
        raise RecipeError(f"the recipe imports {', '.join(missing)}, which {init} does not contain")


def check_labels_of_init(recipe: Recipe, init: Path | None, labels: Sequence[str]) -> None:
    """Raise RecipeError if the classifier should start with that of a checkpoint that knows other labels."""
    if init is not None and _takes_head_of_init(recipe) and (known := read_config(init).labels) != tuple(labels):
        raise RecipeError(
            f"head.start 'trunk' starts with the classifier of {init}, whose labels are {', '.join(known[1:])}; "
            f"the data has {', '.join(labels[1:])}. Train the trunk too, or use head.start 'contrast'"
        )


def _takes_head_of_init(recipe: Recipe) -> bool:
    return recipe.head.start == "trunk" and recipe.trunk_source == "imported"


def check_teacher(recipe: Recipe, config: ModelConfig, teacher: Path) -> None:
    """Raise unless the run can learn from this flow teacher: RecipeError or CheckpointError."""
    if recipe.motion_source == "imported":
        raise RecipeError("--teacher has no effect on a recipe that imports the motion branch; leave it out")
    found, name = read_config(teacher), teacher.name
    if found.trunk != config.trunk.on_flow:
        raise CheckpointError(f"{name} is not a flow teacher for {config.name}: its trunk is of another architecture")
    if missing := [part for part in ("trunk", "static_head") if part not in parts_of(teacher)]:
        raise CheckpointError(f"{name} is not a flow teacher: it lacks {', '.join(missing)}")
    if found.head.feature_dim != config.head.feature_widths[1]:
        raise CheckpointError(
            f"{name} makes features of {found.head.feature_dim} numbers, the motion branch of {config.name} has "
            f"{config.head.feature_widths[1]}"
        )


def cache_bytes(config: ModelConfig, recipe: Recipe, *, training_frames: int, validation_frames: int) -> int:
    """The approximate disk space for the frames, the optical flow, the maps and the features of a run."""
    side = config.image_size + MARGIN
    strides = math.prod((config.trunk.stem_stride, *config.trunk.strides))
    map_bytes = 2 * config.trunk.widths[-1] * math.ceil(config.image_size / strides) ** 2
    has_teacher = recipe.motion_source == "distilled"
    per_frame = 3 * side**2 + (4 * side**2 if has_teacher else 0)
    per_view = map_bytes * (2 if has_teacher else 1) + 4 * sum(config.head.feature_widths)
    frames = training_frames + validation_frames
    return frames * per_frame + (training_frames * recipe.views + validation_frames) * per_view


def check_used_subsets(where: str, videos: Sequence[LabelledVideo]) -> None:
    """Before any work: there must be videos of each subset that training uses."""
    for name in USED_SUBSETS:
        if not any(video.subset == name for video in videos):
            raise DataError(f'{where}: there is no video of the subset {name!r}; give some of them "subset": "{name}"')


def check_learnable(where: str, videos: Sequence[LabelledVideo]) -> None:
    """Before any work: there must be actions to learn, each with an example to learn from."""
    learned = labels_of([video for video in videos if video.subset == "training"])
    if not learned:
        raise DataError(f"{where}: no action is labelled in the videos of the subset 'training'")
    unseen = sorted(set(labels_of(videos)) - set(learned))
    if unseen:
        raise DataError(
            f"{where}: only validation videos show {', '.join(unseen)}; correct the label, or add training videos"
        )


def by_subset(where: str, videos: Sequence[LabelledVideo]) -> list[list[LabelledVideo]]:
    """The training and the validation videos; DataError when either is empty."""
    subsets = [[video for video in videos if video.subset == subset] for subset in USED_SUBSETS]
    for name, found in zip(USED_SUBSETS, subsets, strict=True):
        if not found:
            raise DataError(f"{where}: there is no video of the subset {name!r} that decodes")
    return subsets


def check_lengths(
    where: str, training: Sequence[LabelledVideo], cache: FrameCache, config: ModelConfig, recipe: Recipe
) -> list[str]:
    """Name the training videos that are too short for a stage's sequences, and reject labels that only they show."""
    steps = {
        "trunk": 0 if recipe.trunk_source == "imported" else recipe.trunk.sequence_steps,
        "teacher": 0 if recipe.motion_source == "imported" else recipe.teacher.sequence_steps,
        "distillation": 0 if recipe.motion_source == "imported" else recipe.distill.sequence_steps,
        **_window_steps(recipe),
    }
    frames = {video.name: len(cache.load_pts_s(video)) for video in training}
    return _check_frames(where, steps, frames, {video.name: labels_of([video]) for video in training}, config)


def check_feature_lengths(
    lists: Path, training: Sequence[FeatureSequence], config: ModelConfig, recipe: Recipe
) -> list[str]:
    """Like `check_lengths`, for sessions of features."""
    frames = {sequence.name: len(sequence.pts_s_T) for sequence in training}
    shown = {
        sequence.name: [config.labels[column] for column in np.flatnonzero(sequence.labels.target_TK.any(axis=0))]
        for sequence in training
    }
    return _check_frames(str(lists), _window_steps(recipe), frames, shown, config)


def _window_steps(recipe: Recipe) -> dict[str, int]:
    contrast, head = recipe.contrast, recipe.head
    return {
        "contrast": 0 if contrast.kind == "none" or contrast.pad_windows else contrast.window_steps,
        "head": 0 if head.pad_windows else head.window_steps,
    }


def _check_frames(
    where: str,
    steps_of_stages: Mapping[str, int],
    frames: Mapping[str, int],
    shown: Mapping[str, Sequence[str]],
    config: ModelConfig,
) -> list[str]:
    for stage, steps in steps_of_stages.items():
        learned = {label for name, labels in shown.items() if frames[name] >= steps for label in labels}
        lost = sorted(set(config.labels[1:]) - learned)
        if lost:
            raise DataError(
                f"{where}: the {stage} learns from sequences of {steps} frames ({steps / config.sample_hz:.1f} s), and "
                f"no training video that long shows {', '.join(lost)}; give longer videos, or a recipe with shorter "
                "sequences"
            )
    longest = max(steps_of_stages.values())
    return [
        f"{name}: {count} frames; the stages that learn from {longest} frames at a time do not use it"
        for name, count in frames.items()
        if count < longest
    ]
