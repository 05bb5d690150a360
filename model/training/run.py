"""A training run: its folder, its data and its settings. Each stage of `cake train` takes one.

DIR/recipe.json            what the run was begun with
DIR/cache/                 frames, optical flow, maps and features, made once
DIR/stages/NAME/           state.pt (resumes the stage), log.jsonl
DIR/tensorboard/           the same logs for TensorBoard
DIR/model.safetensors, model.json, report.html   the result
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoint import find_checkpoint
from model.config import BACKGROUND, ModelConfig, architecture
from model.training.batches import TrainingVideo
from model.training.flow import cache_flow, flow_path
from model.training.frame_cache import FrameCache
from model.training.layouts.annotations import (
    DataInvalid,
    LabelledVideo,
    frame_targets,
    labels_of,
    read_annotations,
    read_targets,
    time_in_segment,
)
from model.training.layouts.video_lists import read_labelled_clips
from model.training.loop import Stage, StageMismatch
from model.training.placement import Placement
from model.training.progress import Progress
from model.training.recipe import Recipe, Schedule
from model.training.views import MARGIN

RECIPE_FILE = "recipe.json"


@dataclass(frozen=True)
class Run:
    data_dir: Path
    out_dir: Path
    cache_dir: Path
    config: ModelConfig
    recipe: Recipe
    placement: Placement
    training: Sequence[LabelledVideo]
    validation: Sequence[LabelledVideo]
    failures: Mapping[str, str]
    """Videos that do not decode, with the reason; they are left out."""
    init: Path | None = None
    """A checkpoint whose trunk the trunk stage begins with."""
    checkpoint_every_s: float = 120.0

    @property
    def frames(self) -> FrameCache:
        """A margin larger than the network's input, so that views can be cut from them."""
        return FrameCache(self.cache_dir, self.config.sample_hz, self.config.image_size + MARGIN)

    def stage(self, name: str, schedule: Schedule, **settings: Any) -> Stage:
        """`settings`: everything that the stage's result depends on, besides the data and the seed."""
        everything = {"seed": self.recipe.seed, "labels": list(self.config.labels), **settings}
        as_stored = json.loads(json.dumps(everything))
        folder = self.out_dir / "stages" / name
        return Stage(name, folder, schedule, self.recipe.seed, as_stored, self.checkpoint_every_s)

    def flow_path(self, video: LabelledVideo) -> Path:
        return flow_path(self.frames.path(video), self.recipe.flow)

    def cache_flow(self, progress: Progress) -> None:
        videos = [*self.training, *self.validation]
        progress.on_stage(f"optical flow of {len(videos)} videos")
        paths = [self.frames.path(video) for video in videos]
        cache_flow(paths, self.recipe.flow, processes=self.placement.processes, on_progress=progress.on_item)


def open_run(
    data: Path,
    out_dir: Path,
    config_name: str,
    recipe: Recipe,
    placement: Placement,
    progress: Progress,
    *,
    validation_list: Path | None = None,
    class_file: Path | None = None,
    init: Path | None = None,
    checkpoint_every_s: float = 120.0,
) -> Run:
    """Read the annotations and decode the videos, once.

    `data` is a folder with videos/ and annotations.json, or a list of clips; then `validation_list` is another, and
    `class_file` names the classes of both.

    Raises `DataInvalid` for a wrong layout or when no video of a needed subset decodes, `StageMismatch` for a folder
    whose run was begun with another recipe, `CheckpointNotFound` for an unknown `init`.
    """
    videos = _read_videos(data, validation_list, class_file)
    config = architecture(config_name, (BACKGROUND, *labels_of(videos)))
    keep_recipe(out_dir, config, recipe)
    videos = [video for video in videos if video.subset in ("training", "validation")]
    progress.on_stage(f"decoding {len(videos)} videos")
    cache_dir = out_dir / "cache"
    cache = FrameCache(cache_dir, config.sample_hz, config.image_size + MARGIN)
    failures = cache.fill(videos, placement.processes, progress.on_item)
    subsets = [
        [video for video in videos if video.subset == subset and video.name not in failures]
        for subset in ("training", "validation")
    ]
    if not all(subsets):
        raise DataInvalid(f"{data}: needs videos of the subsets 'training' and 'validation' that decode")
    init = None if init is None else find_checkpoint(init)
    training, validation = subsets
    data_dir = data.parent if data.is_file() else data
    return Run(
        data_dir,
        out_dir,
        cache_dir,
        config,
        recipe,
        placement,
        training,
        validation,
        failures,
        init,
        checkpoint_every_s,
    )


def _read_videos(data: Path, validation_list: Path | None, class_file: Path | None) -> list[LabelledVideo]:
    if not data.is_file():
        return read_annotations(data)
    if validation_list is None:
        raise DataInvalid(f"{data}: a list of clips for training needs another for validation: --validation LIST")
    training = read_labelled_clips(data, "training", class_file=class_file)
    validation = read_labelled_clips(validation_list, "validation", class_file=class_file)
    return [*training, *validation]


def keep_recipe(out_dir: Path, config: ModelConfig, recipe: Recipe) -> None:
    """Note what a run is begun with; `StageMismatch` when its folder was begun with something else."""
    begun = {"config": config.name, "labels": list(config.labels), "recipe": recipe.to_json()}
    path = out_dir / RECIPE_FILE
    if not path.is_file():
        out_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(begun, indent=2) + "\n")
        return
    stored = json.loads(path.read_text())
    for key, value in json.loads(json.dumps(begun)).items():
        if stored.get(key) != value:
            raise StageMismatch(f"{path}: the run was begun with another {key}; use another --out")


def load_videos(run: Run, pictures: Callable[[LabelledVideo], Path]) -> list[TrainingVideo]:
    """The training videos; `pictures` tells the file of each one's frames or flow."""
    return [_load_video(run, video, pictures(video)) for video in run.training]


def _load_video(run: Run, video: LabelledVideo, pictures: Path) -> TrainingVideo:
    pts_s_T = run.frames.load_pts_s(video)
    return TrainingVideo(
        np.load(pictures, mmap_mode="r"),
        frame_targets(video, run.config.labels, pts_s_T),
        time_in_segment(video, pts_s_T),
        read_targets(run.data_dir, video.name),
    )
