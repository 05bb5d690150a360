"""Cross-validation of a clip classifier by blocks, compared with motion statistics on the same splits.

Every block is held out once in each of several random groupings of the blocks into folds. It is tested with a network
that starts from a checkpoint and was trained on the other folds' clips: on single clips, each in a new stream, and on
untrimmed streams composed of the same clips.

Shapes: N clips.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from model.checkpoints.checkpoint import save_checkpoint
from model.detector import Detector
from model.metrics import Floats
from model.network.cake import Cake
from model.training.clips.finetune import finetune_on_clips
from model.training.clips.material import Material, Workshop
from model.training.clips.motion_baseline import baseline_scores
from model.training.evaluation.calibrate import Calibration
from model.training.evaluation.clip_report import clip_scores
from model.training.evaluation.scores import StreamScores
from model.training.evaluation.scoring import score_videos
from model.training.layouts.annotations import LabelledVideo
from model.training.layouts.blocks import group_folds
from model.training.progress import Progress


@dataclass(frozen=True)
class Grouping:
    """Held-out scores under one grouping of the blocks into folds."""

    network_N: Floats
    """The action's score of each clip."""
    baseline_N: Floats
    streams: Sequence[StreamScores]
    """In the order of `Material.streams`."""


def cross_validate(
    material: Material, workshop: Workshop, *, folds: int, repeats: int, seed: int, progress: Progress
) -> list[Grouping]:
    """One grouping for each repeat. After an interruption, the same call resumes."""
    return [_grouping(material, workshop, folds, (seed, repeat), progress) for repeat in range(repeats)]


def _grouping(
    material: Material, workshop: Workshop, folds: int, seed: tuple[int, int], progress: Progress
) -> Grouping:
    network_N, baseline_N = np.zeros(len(material.clips)), np.zeros(len(material.clips))
    streams: dict[str, StreamScores] = {}
    grouping = group_folds([int(block) for block in material.block_N], folds, np.random.default_rng(seed))
    for fold, held_out in enumerate(grouping):
        name = f"seed{seed[0]}-grouping{seed[1]}-fold{fold}"
        detector = Detector(train_without(held_out, name, material, workshop, progress))
        tested_N = np.isin(material.block_N, sorted(held_out))
        clips = [clip for clip, is_tested in zip(material.clips, tested_N, strict=True) if is_tested]
        network_N[tested_N] = score_clips(detector, clips, workshop)
        baseline_N[tested_N] = baseline_scores(
            material.statistics_NF[~tested_N], material.positive_N[~tested_N], material.statistics_NF[tested_N]
        )
        composed = [stream for block, stream in material.streams if block in held_out]
        streams |= {scored.name: scored for scored in _score(detector, composed, workshop)}
    return Grouping(network_N, baseline_N, [streams[stream.name] for _, stream in material.streams])


def train_without(
    held_out: Collection[int], name: str, material: Material, workshop: Workshop, progress: Progress
) -> Cake:
    """A network trained on all blocks except these. `name` is that of its folder."""
    progress.on_stage(name)
    return finetune_on_clips(
        workshop.init,
        workshop.config,
        [maps for block, maps in material.maps.items() if block not in held_out],
        workshop.recipe,
        workshop.dir / "stages" / name,
        settings={"init": workshop.init_version, "held_out": sorted(held_out)},
        on_step=progress.on_step,
    )


def train_on_all(material: Material, workshop: Workshop, calibration: Calibration, progress: Progress) -> None:
    """The network that ships, trained on every block, as the workshop's checkpoint.

    `calibration` comes from held-out streams, because this network has been trained on all clips.
    """
    network = train_without((), "all", material, workshop, progress)
    config = workshop.config.with_calibrated_rules(calibration.rules, calibration.candidate_rule)
    save_checkpoint(workshop.dir, network, config)


def score_clips(detector: Detector, clips: Sequence[LabelledVideo], workshop: Workshop) -> Floats:
    """The action's score of each clip, computed from its frames' scores as in `cake eval`."""
    warmup_frames = detector.config.trunk.window_steps - 1
    scored = _score(detector, clips, workshop)
    return np.array([clip_scores(clip.scores, warmup_frames)[1] for clip in scored])


def _score(detector: Detector, videos: Sequence[LabelledVideo], workshop: Workshop) -> list[StreamScores]:
    return score_videos(detector, videos, workshop.frames.load, lambda done, total: None)
