"""Trains every layer of a checkpoint on one action with thousands of clips, as a basis for a few hundred clips.

New views are drawn at every step, from frames that are decoded once.

Shapes: B sequences, T steps, C channels, S pixels of the input, P cached pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from model.config import BACKGROUND
from model.network.cake import Cake
from model.training.clips.finetune import clip_loss, follow_average, new_labels, with_average
from model.training.clips.views import WholeClip, render_view
from model.training.frame_cache import FrameCache, file_identity
from model.training.layouts.annotations import DataError, LabelledVideo
from model.training.layouts.video_lists import LabelledClip
from model.training.loop import Stage, load_network, run_stage
from model.training.placement import Placement
from model.training.progress import Progress
from model.training.recipe import Schedule

_CACHED_SHARE = 1.5  # of the input's side: room for crops


@dataclass(frozen=True)
class EndToEndRecipe:
    """`sequences` is the number in one step, in all processes together."""

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=1200, learning_rate=1e-3, warmup_steps=40))
    sequences: int = 16
    view_steps: int = 16
    dropout: float = 0.5
    smoothing: float = 0.1
    momentum: float = 0.99
    """Of the average of the weights."""
    seed: int = 0


class EndToEndObjective:
    """Cross-entropy on every frame of random views, with equal weight for both labels."""

    def __init__(
        self,
        begin: Cake,
        frames: FrameCache,
        clips: Sequence[tuple[LabelledVideo, int]],
        recipe: EndToEndRecipe,
        sequences: int,
    ) -> None:
        self.network = with_average(begin)
        self.config = begin.config
        self.frames, self.recipe, self.sequences = frames, recipe, sequences
        self.by_target = [[clip for clip, its_target in clips if its_target == target] for target in (0, 1)]

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Views (B, T, C, S, S) and label indices (B, T)."""
        steps, config = self.recipe.view_steps, self.config
        targets = [index % 2 for index in range(self.sequences)]
        views = []
        for target in targets:
            clips = self.by_target[target]
            clip = self._load(clips[int(rng.integers(len(clips)))], target)
            views.append(render_view(clip, rng, steps, config.sample_hz, config.image_size))
        return torch.from_numpy(np.stack(views)), torch.tensor(targets)[:, None].expand(-1, steps)

    def _load(self, clip: LabelledVideo, target: int) -> WholeClip:
        """Read the file each time, because thousands of mapped files cannot stay open."""
        seen = self.frames.load(clip)
        return WholeClip(list(seen.images_TSS3), seen.pts_s_T.tolist(), target)

    def losses(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        """Cross-entropy over all frames of normalised RGB (B, T, C, S, S) and label indices (B, T)."""
        x_BTCSS, target_BT = batch
        network = self.network["trained"]
        assert isinstance(network, Cake)
        follow_average(self.network, self.recipe.momentum, step)
        return {"loss": clip_loss(network.sequence(x_BTCSS), target_BT, self.recipe.smoothing)}


def train_end_to_end(
    clips: Sequence[LabelledClip],
    background: str,
    init: str,
    out_dir: Path,
    recipe: EndToEndRecipe,
    placement: Placement,
    progress: Progress,
) -> dict[str, str]:
    """Write the trained checkpoint, whose start rules are not calibrated, into `out_dir`.

    Returns the clips that do not decode, with the reason; they are left out. After an interruption, the same call
    resumes. Raises `DataError` when there is not just one action besides `background`,
    `CheckpointNotFoundError`.
    """
    actions = sorted({clip.label for clip in clips} - {background})
    if len(actions) != 1 or all(clip.label != background for clip in clips):
        raise DataError(f"expected clips of {background!r} and of one action; found {', '.join(actions) or 'none'}")
    source, version = load_checkpoint(init)
    begin = new_labels(source, (BACKGROUND, actions[0]), source.config.name, recipe.dropout)
    frames = FrameCache(
        out_dir / "cache",
        begin.config.sample_hz,
        round(_CACHED_SHARE * begin.config.image_size),
        begin.config.framing,
    )
    videos = [
        LabelledVideo(f"{index:05d}-{clip.path.stem}", clip.path, "training", ()) for index, clip in enumerate(clips)
    ]
    progress.on_stage(f"decoding {len(videos)} clips")
    failures = frames.fill(videos, placement.processes, progress)
    seen = [
        (video, int(clip.label != background))
        for video, clip in zip(videos, clips, strict=True)
        if video.name not in failures
    ]
    progress.on_stage("end to end")
    torch.manual_seed(recipe.seed)
    settings = {
        "recipe": asdict(recipe),
        "init": version,
        "clips": [f"{clip.path} {file_identity(clip.path)}" for clip in clips],
    }
    stage = Stage("end-to-end", out_dir / "stages" / "end-to-end", recipe.schedule, recipe.seed, settings)
    sequences = max(2, recipe.sequences // placement.processes)
    run_stage(stage, partial(EndToEndObjective, begin, frames, seen, recipe, sequences), placement, progress.on_step)
    load_network(stage, begin, prefix="average.")
    save_checkpoint(out_dir, begin.eval(), begin.config.with_default_rules())
    return failures
