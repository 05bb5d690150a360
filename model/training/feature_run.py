"""`cake train` on per-frame features of others, as THUMOS'14 and TVSeries are shared: contrast and head stages alone.

The checkpoint holds the head, and whatever parts the one that it began with brings along.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from model.cake import Cake
from model.checkpoint import PARTS, load_parts, save_checkpoint
from model.config import ModelConfig, architecture
from model.head import Head
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.feature_sessions import read_session_lists, read_sessions
from model.training.loop import Stage, load_network, run_stage
from model.training.placement import Placement
from model.training.progress import Progress
from model.training.recipe import Recipe, Schedule
from model.training.run import keep_recipe
from model.training.stages.contrast import ContrastObjective
from model.training.stages.head import HeadObjective


@dataclass(frozen=True)
class FeatureRun:
    out_dir: Path
    config: ModelConfig
    recipe: Recipe
    placement: Placement
    training: list[FeatureSequence]
    init: Path | None
    checkpoint_every_s: float

    def stage(self, name: str, schedule: Schedule, settings: Mapping[str, Any]) -> Stage:
        folder, seed = self.out_dir / "stages" / name, self.recipe.seed
        return Stage(name, folder, schedule, seed, {"seed": seed, **settings}, self.checkpoint_every_s)


def open_feature_run(
    data_dir: Path,
    out_dir: Path,
    config_name: str,
    recipe: Recipe,
    placement: Placement,
    *,
    rgb: str | None,
    flow: str | None,
    init: Path | None,
    checkpoint_every_s: float,
) -> FeatureRun:
    """Raises `DataInvalid` for a wrong layout, `StageMismatch` for a folder begun with another recipe."""
    lists = read_session_lists(data_dir)
    training = read_sessions(data_dir, lists, "training", rgb=rgb, flow=flow)
    config = architecture(config_name, lists.labels)
    head = replace(config.head, feature_dim=training[0].static_TD.shape[1])
    config = replace(config, sample_hz=lists.feature_hz, head=head)
    keep_recipe(out_dir, config, recipe)
    return FeatureRun(out_dir, config, recipe, placement.alone(), training, init, checkpoint_every_s)


def train_on_features(run: FeatureRun, progress: Progress) -> None:
    """Writes the checkpoint. Interrupted at any point, the same call goes on where it was."""
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
    _write(run, head)


def _write(run: FeatureRun, head: Head) -> None:
    model = Cake(run.config)
    model.head.load_state_dict(head.state_dict())
    others: dict[str, nn.Module] = {part: model.get_submodule(part) for part in PARTS if part != "head"}
    held = () if run.init is None else load_parts(run.init, run.config.trunk, others)
    save_checkpoint(run.out_dir, model, parts=(*held, "head"))
