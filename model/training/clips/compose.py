"""Untrimmed streams composed of labelled clips, with the field's annotation file: training data for an online detector
if only trimmed clips exist.

    videos/block02_0001.mp4   annotations.json

A stream holds the clips of one block in random order, so that about every second cut changes the label and a cut
reveals nothing. Frame rate, size and length of the files reveal nothing either: clips are resampled by media time,
scaled to one square size as in serving, and longer ones are cut to the same length. Each stream has its own
compression.

Shapes: T frames, S pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.atomic import write_text_atomically
from model.config import BACKGROUND
from model.training.clips.variation import Images, Variation
from model.training.layouts.annotations import ANNOTATIONS_FILE, DataError
from model.training.layouts.blocks import block_of, stream_name
from model.training.layouts.segments import Segment
from model.training.layouts.video_lists import LabelledClip
from model.video.errors import VideoError
from model.video.file_reader import open_video
from model.video.media_time import SAME_TIME_S
from model.video.preprocess import FrameInput
from model.video.writer import write_h264


@dataclass(frozen=True)
class Composition:
    """How streams are composed."""

    seed: int = 0
    passes: int = 4
    """The number of streams for each block: each contains every clip of the block, in a different order."""
    size: int = 160
    fps: int = 10
    clip_s: float = 2.0
    """A random part of this length is taken from longer clips."""
    block_size: int = 10
    validation_share: float = 0.2
    """Share of the blocks; at least one block."""
    varied: bool = False
    """Whether each pass shows each clip in another way (see `Variation`); otherwise clips are shown unchanged."""

    def __post_init__(self) -> None:
        if self.size % 2 or self.size < 32:
            raise ValueError(
                f"size must be even and at least 32 pixels, not {self.size}: H.264 halves the colour planes"
            )
        if min(self.passes, self.fps, self.block_size) < 1 or not self.clip_s * self.fps >= 1:
            raise ValueError("passes, fps and block_size must be at least 1, and a clip must last a frame")


def compose_streams(
    clips: Sequence[LabelledClip],
    out_dir: Path,
    composition: Composition,
    *,
    background: str,
    on_progress: Callable[[int, int], None],
) -> dict[str, str]:
    """Write the streams into `out_dir`. Clips with the label `background` become stretches without an action.

    Returns the clips that do not decode, with the reason; they are left out. `on_progress` gets the number of finished
    streams and of all. Raises `DataError` if a clip's name has no number, if no clip has the label `background` or no
    clip has another label, or if nothing decodes.
    """
    labels = {clip.label for clip in clips}
    if background not in labels or len(labels) < 2:
        raise DataError(f"expected clips labelled {background!r} and clips of an action; found {sorted(labels)}")
    blocks = _blocks(clips, composition)
    subsets = _subsets(sorted(blocks), composition)
    (out_dir / "videos").mkdir(parents=True, exist_ok=True)
    database: dict[str, object] = {}
    failures: dict[str, str] = {}
    jobs = [(block, index) for block in sorted(blocks) for index in range(composition.passes)]
    for done, (block, index) in enumerate(jobs, start=1):
        name = stream_name(block, index)
        rng = np.random.default_rng((composition.seed, block, index))
        shown = _decode_in_random_order(blocks[block], rng, composition, failures)
        if shown:
            images = (image for each in shown for image in each.images)
            path, crf = out_dir / "videos" / f"{name}.mp4", int(rng.integers(17, 30))
            write_h264(path, images, width=composition.size, height=composition.size, fps=composition.fps, crf=crf)
            database[name] = {"subset": subsets[block], "block": block, **_entry(shown, composition, background)}
        on_progress(done, len(jobs))
    if not database:
        raise DataError("no clip could be decoded")
    content = {"version": "composed clips 1", "database": database}
    write_text_atomically(out_dir / ANNOTATIONS_FILE, json.dumps(content, indent=1))
    return failures


def resample(
    images: Sequence[Images], pts_s: Sequence[float] | NDArray[np.float64], times_s: NDArray[np.float64]
) -> list[Images]:
    """The image shown at each time: the last one that is not later."""
    index_T = np.searchsorted(np.asarray(pts_s), times_s + SAME_TIME_S, side="right") - 1
    return [images[index] for index in index_T.clip(min=0)]


@dataclass(frozen=True)
class _Shown:
    clip: LabelledClip
    images: Sequence[Images]


def _blocks(clips: Sequence[LabelledClip], composition: Composition) -> dict[int, list[LabelledClip]]:
    blocks: dict[int, list[LabelledClip]] = {}
    for clip in clips:
        blocks.setdefault(block_of(clip.path, composition.block_size), []).append(clip)
    return blocks


def _subsets(blocks: Sequence[int], composition: Composition) -> Mapping[int, str]:
    order = np.random.default_rng(composition.seed).permutation(blocks)
    held_out = max(1, round(len(blocks) * composition.validation_share))
    return {int(block): "validation" if place < held_out else "training" for place, block in enumerate(order)}


def _decode_in_random_order(
    clips: Sequence[LabelledClip], rng: np.random.Generator, composition: Composition, failures: dict[str, str]
) -> list[_Shown]:
    shown = []
    for index in rng.permutation(len(clips)):
        clip = clips[index]
        try:
            shown.append(_Shown(clip, _decode(clip.path, rng, composition)))
        except VideoError as error:
            failures[clip.path.name] = str(error)
    return shown


def _decode(path: Path, rng: np.random.Generator, composition: Composition) -> list[Images]:
    variation = Variation.drawn(rng) if composition.varied else Variation()
    with open_video(path) as video:
        frames = list(video.frames(frame_input=FrameInput(round(composition.size * variation.zoom), "stretch")))
    pts_s = np.array([frame.pts_s for frame in frames]) / variation.speed
    length_s = pts_s[-1] + (pts_s[-1] - pts_s[0]) / max(1, len(pts_s) - 1)
    spare_s = max(0.0, length_s - composition.clip_s)
    count = max(1, round(min(length_s, composition.clip_s) * composition.fps))
    times_s = rng.uniform(0, spare_s) + np.arange(count) / composition.fps
    images = resample([frame.image for frame in frames], pts_s, times_s)
    return variation.show(images, composition.size) if composition.varied else images


def _entry(shown: Sequence[_Shown], composition: Composition, background: str) -> dict[str, object]:
    segments: list[Segment] = []
    frames = 0
    for each in shown:
        start_s, end_s = frames / composition.fps, (frames + len(each.images)) / composition.fps
        label = each.clip.label
        if segments and segments[-1][2] == label and segments[-1][1] == start_s:
            segments[-1] = (segments[-1][0], end_s, label)
        elif label not in (background, BACKGROUND):
            segments.append((start_s, end_s, label))
        frames += len(each.images)
    return {
        "duration": frames / composition.fps,
        "resolution": f"{composition.size}x{composition.size}",
        "annotations": [{"segment": [start_s, end_s], "label": label} for start_s, end_s, label in segments],
        "clips": [each.clip.path.name for each in shown],
    }
