"""Clips of people who fight and of people who do not, in turn, with a list of their labels.

seed1/00000.mp4   clips.txt
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from model.atomic import write_text_atomically
from model.training.fights.footage import record
from model.training.fights.scene import render_fight
from model.training.mocap.motion import load_recordings
from model.training.mocap.render_pool import write_in_processes
from model.video.writer import write_h264

LIST_FILE = "clips.txt"
FIGHT, CALM = "fight", "calm"
CLIP_FRAMES, CLIP_FPS, CLIP_PX = 26, 10, 144
# The compression that a recorder adds is part of the image already.
_CRF = 12


@dataclass(frozen=True)
class ClipSpec:
    """All that a clip's content depends on."""

    seed: int
    index: int
    aspect: float
    """Width / height of the frames."""

    @property
    def width(self) -> int:
        """Width of the frames, in pixels."""
        return 2 * round(CLIP_PX * self.aspect / 2)

    @property
    def name(self) -> str:
        """Name of the clip's file, without suffix."""
        return f"{self.index:05d}"

    @property
    def label(self) -> str:
        """Label of the clip: every second one is a fight."""
        return FIGHT if self.index % 2 else CALM


def write_fight_clips(
    out_dir: Path,
    *,
    clips: int,
    seed: int,
    aspect: float = 1.0,
    workers: int,
    on_progress: Callable[[int, int], None],
) -> None:
    """Writes `clips` clips of 2.6 s, every second one a fight, in `workers` processes.

    A clip depends on the seed, its number and `aspect` (width / height) alone; those of an earlier run are kept.
    `on_progress` gets the number of complete clips and of all. Raises RenderError.
    """
    specs = [ClipSpec(seed, index, aspect) for index in range(clips)]
    folder = out_dir / (f"seed{seed}" if aspect == 1.0 else f"seed{seed}_{specs[0].width}x{CLIP_PX}")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [spec for spec in specs if not (folder / f"{spec.name}.mp4").exists()]
    on_progress(clips - len(missing), clips)
    if missing:
        write_in_processes(
            partial(_write_clip, folder), missing, workers, lambda left: on_progress(clips - left, clips)
        )
    lines = [f"{folder.name}/{spec.name}.mp4 {spec.label}\n" for spec in specs]
    write_text_atomically(out_dir / LIST_FILE, "".join(lines))


def _write_clip(folder: Path, spec: ClipSpec) -> None:
    rng = np.random.default_rng([spec.seed, spec.index])
    seen = render_fight(
        rng,
        load_recordings(),
        fight=spec.label == FIGHT,
        frames=CLIP_FRAMES,
        width=spec.width,
        height=CLIP_PX,
        fps=CLIP_FPS,
    )
    path = folder / f"{spec.name}.mp4"
    write_h264(path, record(rng, seen), width=spec.width, height=CLIP_PX, fps=CLIP_FPS, crf=_CRF)
