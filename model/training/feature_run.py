"""`cake train` on per-frame features made by others, in which form THUMOS'14 and TVSeries are shared: the contrast and
head stages.

The checkpoint holds the head and, if the run started from a checkpoint, that checkpoint's other parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from model.checkpoints.checkpoint import load_parts, save_parts
from model.checkpoints.folders import find_checkpoint
from model.checkpoints.stored import read_config
from model.config import ModelConfig
from model.network.feature_head import FeatureHead
from model.network.head import Head
from model.network.motion import MotionAdapter
from model.network.x3d import Trunk
from model.training.layouts.annotations import DataError
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.feature_sessions import SessionLists, read_session_lists, read_sessions
from model.training.loop import Stage, load_network, run_stage
from model.training.placement import Placement
from model.training.progress import Progress
from model.training.recipe import Recipe, RecipeError, Schedule
from model.training.run import begin_config
from model.training.run_checks import check_feature_lengths
from model.training.run_records import keep_data, keep_recipe
from model.training.stages.contrast import ContrastObjective
from model.training.stages.head import HeadObjective


@dataclass(frozen=True)
class FeatureRun:
    """A checked feature folder, and how to train a head on it."""

    out_dir: Path
    config: ModelConfig
    recipe: Recipe
    placement: Placement
    training: list[FeatureSequence]
    init: Path | None
    """A checkpoint whose other parts the result includes; the features must have been made with it."""
    checkpoint_every_s: float

    def stage(self, name: str, schedule: Schedule, settings: Mapping[str, Any]) -> Stage:
        """A stage of this run; `settings` are everything its result depends on besides data and seed."""
        folder, seed = self.out_dir / "stages" / name, self.recipe.seed
        return Stage(name, folder, schedule, seed, {"seed": seed, **settings}, self.checkpoint_every_s)


def open_feature_run(
    data_dir: Path,
    out_dir: Path,
    config_name: str | None,
    recipe: Recipe,
    placement: Placement,
    progress: Progress,
    *,
    rgb: str | None,
    flow: str | None,
    init: Path | None,
    checkpoint_every_s: float,
) -> FeatureRun:
    """Read and check the features. A session that is too short for a stage's windows is named in a warning.

    Raises:
        DataError: the layout is wrong, no session that is long enough shows a label, or the features cannot be those
            of the checkpoint `init`.
        RecipeError: the recipe needs a trunk.
        StageMismatchError: the folder was started with another recipe or with other data.
    """
    if recipe.head.start == "trunk":
        raise RecipeError("head.start 'trunk' needs a trunk stage, which features do not have")
    lists = read_session_lists(data_dir)
    training = read_sessions(data_dir, lists, "training", rgb=rgb, flow=flow)
    if not training:
        raise DataError(f"{lists.path}: train_session_set: expected the sessions to train on")
    config = begin_config(config_name, init, lists.labels)
    widths = training[0].static_TD.shape[1], training[0].motion_TD.shape[1]
    if init is not None:
        _check_features_of(init, lists, widths)
    head = replace(config.head, feature_dim=widths[0], motion_dim=None if widths[0] == widths[1] else widths[1])
    config = replace(config, sample_hz=lists.feature_hz, head=head, mode=lists.mode)
    _check_actions(lists, training)
    notes = check_feature_lengths(lists.path, training, config, recipe)
    keep_recipe(out_dir, config, recipe, {"init": None if init is None else find_checkpoint(init)})
    keep_data(out_dir, {sequence.name: sequence.identity for sequence in training})
    for note in notes:
        progress.on_warning(note)
    return FeatureRun(out_dir, config, recipe, placement.alone(), training, init, checkpoint_every_s)


def _check_actions(lists: SessionLists, training: Sequence[FeatureSequence]) -> None:
    shown_K = np.any([sequence.labels.target_TK.any(axis=0) for sequence in training], axis=0)
    unseen = [label for label, shown in zip(lists.labels[1:], shown_K[1:], strict=True) if not shown]
    if not shown_K[1:].any():
        raise DataError(f"{lists.path}: no frame of the training sessions shows an action")
    if unseen:
        raise DataError(f"{lists.path}: class_names: no frame of the training sessions shows {', '.join(unseen)}")


def _check_features_of(init: Path, lists: SessionLists, widths: tuple[int, int]) -> None:
    begun = read_config(find_checkpoint(init))
    if begun.head.feature_widths != widths:
        static, motion = begun.head.feature_widths
        raise DataError(
            f"{init} makes features of {static} (static) and {motion} (motion) numbers per frame; the folder holds "
            f"{widths[0]} and {widths[1]}. Train a head for them without --from"
        )
    if begun.sample_hz != lists.feature_hz:
        raise DataError(
            f"{init} takes {begun.sample_hz:g} frames per second; {lists.path} says that the features have "
            f"{lists.feature_hz:g} per second (fps)"
        )


def train_on_features(run: FeatureRun, progress: Progress) -> None:
    """Train the head and write the checkpoint. An interrupted run resumes where it left off."""
    head = Head(run.config.head, len(run.config.labels))
    contrast, classifier = run.recipe.contrast, run.recipe.head
    settings: dict[str, Any] = {"contrast": asdict(contrast)}
    if contrast.kind != "none":
        progress.on_stage(f"{contrast.kind} contrastive learning")
        stage = run.stage("contrast", contrast.schedule, settings)
        make_contrast = partial(ContrastObjective, run.config, run.training, contrast)
        run_stage(stage, make_contrast, run.placement, progress.on_step)
        load_network(stage, head, prefix="query.head.")
    progress.on_stage("classifier")
    stage = run.stage("head", classifier.schedule, {**settings, "head": asdict(classifier)})
    make_classifier = partial(HeadObjective, partial(deepcopy, head), run.training, classifier)
    run_stage(stage, make_classifier, run.placement, progress.on_step)
    load_network(stage, head)
    save_parts(run.out_dir, {**_parts_of_init(run), "head": head}, run.config.with_default_rules())


def _parts_of_init(run: FeatureRun) -> dict[str, nn.Module]:
    if run.init is None:
        return {}
    config = run.config
    width = config.trunk.widths[-1]
    modules: dict[str, nn.Module] = {
        "trunk": Trunk(config.trunk),
        "static_head": FeatureHead(width, config.head),
        "motion": MotionAdapter(width, config.motion_kernels, config.trunk.window_steps),
        "motion_head": FeatureHead(width, config.head, config.head.feature_widths[1]),
    }
    return {part: modules[part] for part in load_parts(run.init, config.trunk, modules)}
