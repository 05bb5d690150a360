"""Data shared by the folds of a cross-validation of clips: decoded frames, motion statistics, maps and composed
streams.

DIR/cache/    frames of the clips and of the streams
DIR/maps/     what the frozen part of the network makes of random views, one file for each block
DIR/streams/  the composed streams (see `model.training.clips.compose`)

Shapes: N clips, F statistics.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.atomic import write_atomically, write_text_atomically
from model.checkpoints.checkpoint import load_checkpoint
from model.config import BACKGROUND, ModelConfig
from model.metrics import Bools, Floats
from model.network.cake import Cake
from model.training.clips.compose import Composition, compose_streams
from model.training.clips.finetune import ClipRecipe, ViewMaps, frozen_maps, new_labels
from model.training.clips.motion_baseline import motion_statistics
from model.training.clips.views import draw_views, load_clip
from model.training.frame_cache import FrameCache, file_identity
from model.training.layouts.annotations import DataError, LabelledVideo, read_annotations
from model.training.layouts.blocks import block_of, block_of_stream
from model.training.layouts.video_lists import LabelledClip
from model.training.progress import Progress


@dataclass(frozen=True)
class Workshop:
    """The folder, data and settings with which a network is trained on clips."""

    dir: Path
    init: Cake
    """The initial weights of every network."""
    init_version: str
    config: ModelConfig
    """Configuration of the networks to be trained."""
    recipe: ClipRecipe
    composition: Composition
    processes: int

    @property
    def frames(self) -> FrameCache:
        """The decoded frames of the clips."""
        return FrameCache.as_served(self.dir / "cache", self.config)


@dataclass(frozen=True)
class Material:
    """The data of a cross-validation of clips."""

    action: str
    clips: Sequence[LabelledVideo]
    positive_N: Bools
    """Whether each clip shows the action."""
    block_N: NDArray[np.int64]
    statistics_NF: Floats
    """Statistics of each clip's motion."""
    maps: Mapping[int, ViewMaps]
    """By block."""
    streams: Sequence[tuple[int, LabelledVideo]]
    """Each with its block."""
    failures: Mapping[str, str]
    """Clips that do not decode, with the reason; they are left out."""


def open_workshop(
    clips: Sequence[LabelledClip],
    init: str,
    background: str,
    work_dir: Path,
    recipe: ClipRecipe,
    composition: Composition,
    processes: int,
    image_size: int | None = None,
) -> Workshop:
    """`image_size`: a side of the input that differs from the checkpoint's, in pixels.

    Raises `DataError` when there is not just one action besides `background`, `CheckpointNotFoundError`."""
    actions = sorted({clip.label for clip in clips} - {background})
    if len(actions) != 1:
        raise DataError(f"expected clips of one action besides {background!r}; found {', '.join(actions) or 'none'}")
    source, version = load_checkpoint(init)
    if image_size is not None:
        source, version = _resized(source, image_size), f"{version} at {image_size} px"
    config = new_labels(source, (BACKGROUND, actions[0]), source.config.name, recipe.dropout).config
    return Workshop(work_dir, source, version, config, recipe, composition, processes)


def _resized(source: Cake, image_size: int) -> Cake:
    """The same weights for a larger or smaller input, which is possible because the network is convolutional."""
    network = Cake(replace(source.config, image_size=image_size))
    network.load_state_dict(source.state_dict())
    return network.eval()


def prepare(clips: Sequence[LabelledClip], background: str, workshop: Workshop, progress: Progress) -> Material:
    """Decode the clips, compute their statistics and maps, and compose streams, once. Results already in the
    folder are reused.
    """
    videos = [
        LabelledVideo(f"{index:04d}-{clip.path.stem}", clip.path, "testing", ()) for index, clip in enumerate(clips)
    ]
    progress.on_stage(f"decoding {len(videos)} clips")
    failures = workshop.frames.fill(videos, workshop.processes, progress)
    decoded = [(clip, video) for clip, video in zip(clips, videos, strict=True) if video.name not in failures]
    if not decoded:
        raise DataError("no clip could be decoded")
    kept = [clip for clip, _ in decoded]
    videos = [video for _, video in decoded]
    positive_N = np.array([clip.label != background for clip in kept])
    block_N = np.array([block_of(clip.path, workshop.composition.block_size) for clip in kept])
    return Material(
        action=workshop.config.labels[1],
        clips=videos,
        positive_N=positive_N,
        block_N=block_N,
        statistics_NF=_statistics(videos, workshop, progress),
        maps=_maps(videos, positive_N, block_N, workshop, progress),
        streams=_streams(kept, background, workshop, progress),
        failures=failures,
    )


def _statistics(clips: Sequence[LabelledVideo], workshop: Workshop, progress: Progress) -> Floats:
    progress.on_stage("motion statistics")
    rows = []
    for done, clip in enumerate(clips, start=1):
        rows.append(motion_statistics(workshop.frames.load(clip).images_TSS3))
        progress.on_item(done, len(clips))
    return np.stack(rows)


def _maps(
    clips: Sequence[LabelledVideo],
    positive_N: Bools,
    block_N: NDArray[np.int64],
    workshop: Workshop,
    progress: Progress,
) -> dict[int, ViewMaps]:
    progress.on_stage("random views of the clips")
    (workshop.dir / "maps").mkdir(parents=True, exist_ok=True)
    blocks = [int(block) for block in np.unique(block_N)]
    maps: dict[int, ViewMaps] = {}
    for done, block in enumerate(blocks, start=1):
        members = [(clips[i], int(positive_N[i])) for i in np.flatnonzero(block_N == block).tolist()]
        maps[block] = _block_maps(block, members, workshop)
        progress.on_item(done, len(blocks))
    return maps


def _block_maps(block: int, members: Sequence[tuple[LabelledVideo, int]], workshop: Workshop) -> ViewMaps:
    recipe, config = workshop.recipe, workshop.config
    begun_with = (workshop.init_version, recipe.seed, recipe.views, recipe.view_steps, recipe.frozen_stages)
    key = json.dumps([*begun_with, [f"{clip.path} {file_identity(clip.path)}" for clip, _ in members]])
    path = workshop.dir / "maps" / f"block{block}.npz"
    if path.is_file():
        with np.load(path) as stored:
            if str(stored["key"]) == key:
                return ViewMaps(stored["maps"], stored["target"])
    views = draw_views(
        [load_clip(clip.path, target, config.image_size) for clip, target in members],
        np.random.default_rng((recipe.seed, block)),
        views=recipe.views * len(members),
        steps=recipe.view_steps,
        sample_hz=config.sample_hz,
        size=config.image_size,
    )
    made = frozen_maps(workshop.init, recipe.frozen_stages, list(views))
    with write_atomically(path) as partial_path:
        np.savez(partial_path, maps=made.maps_VTCHW, target=made.target_VT, key=key)
    return made


def _streams(
    clips: Sequence[LabelledClip], background: str, workshop: Workshop, progress: Progress
) -> list[tuple[int, LabelledVideo]]:
    progress.on_stage("composing streams")
    data_dir = workshop.dir / "streams"
    note = data_dir / "composition.json"
    wanted = json.dumps([asdict(workshop.composition), [f"{clip.path} {file_identity(clip.path)}" for clip in clips]])
    if not note.is_file() or note.read_text() != wanted:
        compose_streams(clips, data_dir, workshop.composition, background=background, on_progress=progress.on_item)
        write_text_atomically(note, wanted)
    streams = read_annotations(data_dir)
    workshop.frames.fill(streams, workshop.processes, progress)
    return [(block_of_stream(stream.name), stream) for stream in streams]
