"""A training run: its folder, its data and its settings. Each stage of `cake train` takes one.

DIR/recipe.json, data.json what the run was started with: settings, and the identity of each video
DIR/cache/                 frames, optical flow, maps and features, made once
DIR/stages/NAME/           state.pt (resumes the stage), log.jsonl
DIR/tensorboard/           the same logs for TensorBoard
DIR/model.safetensors, model.json, report.html   the result
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.architectures import architecture
from model.checkpoints.folders import find_checkpoint
from model.checkpoints.stored import CheckpointError, read_config
from model.config import BACKGROUND, SETTLE_S, ModelConfig, StartRule
from model.training.batches import TrainingVideo
from model.training.flow import cache_flow, flow_path
from model.training.frame_cache import FrameCache, video_identity
from model.training.layouts.annotations import (
    DataError,
    LabelledVideo,
    labels_of,
    read_targets,
)
from model.training.layouts.decoded import fit_segments
from model.training.layouts.segments import label_frames
from model.training.layouts.several_folders import read_training_folders
from model.training.layouts.video_lists import read_labelled_clips
from model.training.loop import Stage
from model.training.placement import Placement
from model.training.progress import Progress
from model.training.recipe import Recipe, Schedule
from model.training.run_checks import (
    by_subset,
    cache_bytes,
    check_flow,
    check_imports,
    check_labels_of_init,
    check_learnable,
    check_lengths,
    check_teacher,
    check_used_subsets,
)
from model.training.run_records import keep_data, keep_recipe
from model.training.views import MARGIN
from model.video.preprocess import WHOLE_FRAME

DEFAULT_CONFIG = "cake-xs"


@dataclass(frozen=True)
class Run:
    """The data and the settings of one training, checked and decoded (see `open_run`)."""

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
    """A checkpoint from whose trunk the trunk stage starts."""
    teacher: Path | None = None
    """A checkpoint of a network on optical flow that replaces a teacher trained here."""
    checkpoint_every_s: float = 120.0

    @property
    def frames(self) -> FrameCache:
        """A margin larger than the network's input, so that views can be cut from them."""
        return FrameCache(self.cache_dir, self.config.sample_hz, self.config.image_size + MARGIN, self.config.framing)

    def stage(self, name: str, schedule: Schedule, **settings: Any) -> Stage:
        """`settings`: everything the stage's result depends on besides the data and the seed."""
        everything = {"seed": self.recipe.seed, "labels": list(self.config.labels), **settings}
        as_stored = json.loads(json.dumps(everything))
        folder = self.out_dir / "stages" / name
        return Stage(name, folder, schedule, self.recipe.seed, as_stored, self.checkpoint_every_s)

    def flow_path(self, video: LabelledVideo) -> Path:
        """The file of a video's optical flow, by the recipe's method."""
        return flow_path(self.frames.path(video), self.recipe.flow)

    def cache_flow(self, progress: Progress) -> None:
        """Compute the optical flow of all videos, unless it is cached."""
        videos = [*self.training, *self.validation]
        progress.on_stage(f"optical flow of {len(videos)} videos")
        paths = [self.frames.path(video) for video in videos]
        cache_flow(paths, self.recipe.flow, processes=self.placement.processes, on_progress=progress.on_item)


def open_run(
    data: Sequence[Path],
    out_dir: Path,
    config_name: str | None,
    recipe: Recipe,
    placement: Placement,
    progress: Progress,
    *,
    validation_list: Path | None = None,
    class_file: Path | None = None,
    init: Path | None = None,
    teacher: Path | None = None,
    skip_invalid: bool = False,
    checkpoint_every_s: float = 120.0,
) -> Run:
    """Read the annotations and decode the videos, once.

    Args:
        data: folders of annotated videos, or one list of clips for training.
        validation_list: a list of clips for validation, when `data` is a list.
        class_file: names of the classes of both lists.
        init: a checkpoint to begin with.
        teacher: a checkpoint of a flow teacher, in place of training one.
        skip_invalid: leave out missing videos and segments that cannot be used, with a warning for each.

    Raises:
        DataError: the layout is wrong, no action is labelled, or no video of a needed subset decodes.
        StageMismatchError: the folder's run was started with another recipe or with other data.
        CheckpointNotFoundError: there is no checkpoint `init` or `teacher`.
        CheckpointError: `init` or `teacher` does not fit the network.
    """
    check_flow(recipe)
    init, teacher = (None if each is None else find_checkpoint(each) for each in (init, teacher))
    check_imports(recipe, init)
    videos = _read_videos(data, validation_list, class_file, progress.on_warning if skip_invalid else None)
    where = ", ".join(map(str, data))
    check_used_subsets(where, videos)
    check_learnable(where, videos)
    config = begin_config(config_name, init, (BACKGROUND, *labels_of(videos)))
    check_labels_of_init(recipe, init, config.labels)
    if teacher is not None:
        check_teacher(recipe, config, teacher)
    keep_recipe(out_dir, config, recipe, {"init": init, "teacher": teacher})
    keep_data(out_dir, {video.name: _fingerprint(video) for video in videos})
    progress.on_stage(f"decoding {len(videos)} videos")
    cache_dir = out_dir / "cache"
    cache = FrameCache(cache_dir, config.sample_hz, config.image_size + MARGIN, config.framing)
    failures = cache.fill(videos, placement.processes, progress)
    decoded = [video for video in videos if video.name not in failures]
    decoded = fit_segments(decoded, cache.load_pts_s, config.sample_hz, progress.on_warning, strict=not skip_invalid)
    training, validation = by_subset(where, decoded)
    for note in check_lengths(where, training, cache, config, recipe):
        progress.on_warning(note)
    frames = [sum(len(cache.load_pts_s(video)) for video in part) for part in (training, validation)]
    gigabytes = cache_bytes(config, recipe, training_frames=frames[0], validation_frames=frames[1]) / 1e9
    progress.on_stage(f"{sum(frames)} frames; the caches of all stages take about {gigabytes:.1f} GB in {cache_dir}")
    return Run(
        out_dir,
        cache_dir,
        config,
        recipe,
        placement,
        training,
        validation,
        failures,
        init,
        teacher,
        checkpoint_every_s,
    )


def begin_config(config_name: str | None, init: Path | None, labels: tuple[str, ...]) -> ModelConfig:
    """The configuration of a network to be trained for these labels: that of the checkpoint `init`, so that its image
    size, rate and framing are kept, else of the architecture `config_name`, by default `cake-xs`.

    Raises:
        ConfigError: no architecture has this name.
        CheckpointError: `init` has another trunk than the requested architecture.
        CheckpointNotFoundError: there is no such checkpoint.
    """
    if init is None:
        return architecture(config_name or DEFAULT_CONFIG, labels)
    begun = read_config(find_checkpoint(init))
    if config_name is not None and architecture(config_name, labels).trunk != begun.trunk:
        raise CheckpointError(f"{init} has another trunk than {config_name}; train it without --config")
    candidate_rule = StartRule(enter=0.2, leave=0.1)
    return replace(begun.for_labels(labels), candidate_rule=candidate_rule, mode="causal", settle_s=SETTLE_S)


def _read_videos(
    data: Sequence[Path],
    validation_list: Path | None,
    class_file: Path | None,
    on_skip: Callable[[str], None] | None,
) -> list[LabelledVideo]:
    clip_list = data[0]
    if len(data) > 1 or not clip_list.is_file():
        return read_training_folders(data, on_skip)
    if validation_list is None:
        raise DataError(f"{clip_list}: a list of clips for training needs another for validation: --validation LIST")
    training = read_labelled_clips(clip_list, "training", class_file=class_file)
    validation = read_labelled_clips(validation_list, "validation", class_file=class_file)
    return [*training, *validation]


def _fingerprint(video: LabelledVideo) -> str:
    labels = hashlib.sha256(json.dumps([video.subset, video.segments]).encode()).hexdigest()[:12]
    return f"{video_identity(video)} {labels}"


def load_videos(run: Run, images: Callable[[LabelledVideo], Path]) -> list[TrainingVideo]:
    """The training videos; `images` gives the file of each one's frames or flow."""
    return [_load_video(run, video, images(video)) for video in run.training]


def _load_video(run: Run, video: LabelledVideo, images: Path) -> TrainingVideo:
    pts_s_T = run.frames.load_pts_s(video)
    # The renderer's targets describe the whole frame.
    targets = read_targets(video.targets_path, pts_s_T) if video.region == WHOLE_FRAME else None
    return TrainingVideo(
        np.load(images, mmap_mode="r"), label_frames(video.segments, run.config.labels, pts_s_T), targets
    )
