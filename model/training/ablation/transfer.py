"""The setting of the paper: trunk, flow teacher and motion branches learn from other video, and are then frozen. Only
heads learn from the target.

Without videos for the test, the target's streams, composed of clips (`cake synth compose`), are tested by
cross-validation over their blocks, with another grouping of the blocks for each seed.

Shapes: N streams, T frames, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.atomic import write_atomically
from model.checkpoints.checkpoint import save_parts
from model.metrics import Floats
from model.training.ablation.compare import VariantScores
from model.training.ablation.heads import Variant, head_scores, train_variant
from model.training.ablation.motion import MotionBranch, MotionSource, learn_motion
from model.training.ablation.sequences import sequences_of_views
from model.training.evaluation.scores import StreamScores
from model.training.layouts.annotations import DataError, LabelledVideo, labels_of
from model.training.layouts.blocks import block_of_stream, group_folds
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.video_folders import read_video_folder
from model.training.progress import Progress
from model.training.run import Run, open_run
from model.training.stages.distill import cache_static_maps, cache_teacher_maps
from model.training.stages.single_stream import teacher_config
from model.training.stages.teacher import load_teacher, train_teacher
from model.training.stages.trunk import load_trunk, train_trunk

_DRAWS = 1000

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class TransferTarget:
    """The streams of a target: heads learn from `training` and are tested on `tested`."""

    run: Run
    training: Sequence[LabelledVideo]
    test_run: Run
    """Whose cache holds the tested streams."""
    tested: Sequence[LabelledVideo]
    block_N: NDArray[np.int64] | None
    """Blocks of the streams for cross-validation, in which the tested streams are the training streams; None without
    it."""
    folds: int
    share: float
    """Of the training streams, drawn separately for each seed."""

    @property
    def units(self) -> NDArray[np.int64]:
        """What the bootstrap draws: blocks, or else single streams."""
        return np.arange(len(self.tested)) if self.block_N is None else self.block_N

    def splits(self, seed: int) -> list[tuple[Indices, Indices]]:
        """The training and the test streams of each head of a variant."""
        rng = np.random.default_rng(seed)
        if self.block_N is None:
            return [(self._draw(rng, np.arange(len(self.training))), np.arange(len(self.tested)))]
        grouping = group_folds([int(block) for block in self.block_N], self.folds, rng)
        held_out = [np.isin(self.block_N, sorted(blocks)) for blocks in grouping]
        return [(self._draw(rng, np.flatnonzero(~tested_N)), np.flatnonzero(tested_N)) for tested_N in held_out]

    def _draw(self, rng: np.random.Generator, among: Indices) -> Indices:
        """The share of these streams, such that they show every label."""
        count, labels = max(1, round(self.share * len(among))), set(self.run.config.labels[1:])
        for _ in range(_DRAWS):
            drawn = rng.permutation(among)[:count]
            if set(labels_of([self.training[i] for i in drawn])) == labels:
                return drawn
        raise DataError(f"{count} training streams do not show all {len(labels)} labels; use a larger --share")


def train_source(run: Run, progress: Progress) -> None:
    """Train the trunk and the teacher of the run on other video, and store their maps, unless that is done already."""
    train_trunk(run, progress)
    train_teacher(run, progress)
    _cache_maps(run, [*run.training, *run.validation], progress)


def open_target(
    source: Run, data: Sequence[Path], test: Path | None, out_dir: Path, *, folds: int, share: float, progress: Progress
) -> TransferTarget:
    """The target's run with the source's trunk and teacher, as they are, and the maps of all its streams."""
    parts = source.out_dir / "frozen"
    for name, stream in (("trunk", load_trunk(source)), ("teacher", load_teacher(source))):
        config = source.config if name == "trunk" else teacher_config(source.config)
        save_parts(parts / name, {"trunk": stream.trunk, "static_head": stream.feature_head}, config)
    recipe = replace(source.recipe, trunk_source="imported")
    init, teacher = parts / "trunk", parts / "teacher"
    run = open_run(data, out_dir, None, recipe, source.placement, progress, init=init, teacher=teacher)
    run.cache_flow(progress)
    if test is None:
        streams = [replace(video, subset="training") for video in (*run.training, *run.validation)]
        _cache_maps(run, streams, progress)
        block_N = np.array([block_of_stream(video.name) for video in streams])
        return TransferTarget(run, streams, run, streams, block_N, folds, share)
    tested = [replace(video, subset="testing") for video in read_video_folder(test)]
    test_run = replace(run, cache_dir=out_dir / "test-cache", training=(), validation=tested)
    progress.on_stage(f"decoding {len(tested)} test videos")
    if failures := test_run.frames.fill(tested, run.placement.processes, progress):
        raise DataError(f"{test}: {len(failures)} videos do not decode: {', '.join(failures)}")
    test_run.cache_flow(progress)
    _cache_maps(run, run.training, progress)
    _cache_maps(test_run, tested, progress)
    return TransferTarget(run, run.training, test_run, tested, None, folds, share)


def _cache_maps(run: Run, videos: Sequence[LabelledVideo], progress: Progress) -> None:
    cache_static_maps(run, videos, progress)
    cache_teacher_maps(run, videos, progress)


@dataclass(frozen=True)
class _Features:
    """The features of a target, of one source of motion."""

    learned: Sequence[Sequence[FeatureSequence]]
    """Each training stream's views."""
    tested: Sequence[FeatureSequence]
    """Whole frames of each tested stream."""


def transfer(
    motion_run: Run,
    target: TransferTarget,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    out_dir: Path,
    progress: Progress,
) -> list[VariantScores]:
    """The scores of the tested streams by each variant under each seed. Those in `out_dir` are not computed again.

    `motion_run`: the run whose training videos the motion branches learn from; the source, as in the
    paper, or the target.
    """
    outcomes = []
    for seed in seeds:
        by_motion: dict[MotionSource, _Features] = {}
        for variant in variants:
            path = out_dir / f"seed{seed}" / f"{variant.motion}-{variant.contrast}.npz".replace(" ", "-")
            if not path.is_file():
                if variant.motion not in by_motion:
                    folder = motion_run.out_dir / "motion" / f"seed{seed}"
                    branch = learn_motion(motion_run, variant.motion, folder, seed, progress)
                    by_motion[variant.motion] = _features(target, branch)
                scores = _cross_scores(target, by_motion[variant.motion], variant, seed, path.parent, progress)
                with write_atomically(path) as partial_path, partial_path.open("wb") as file:
                    np.savez(file, *scores)
            with np.load(path) as stored:
                streams = [
                    StreamScores(video.name, target.test_run.frames.load_pts_s(video), scores_TK, video.segments)
                    for video, scores_TK in zip(target.tested, stored.values(), strict=True)
                ]
            outcomes.append(VariantScores(variant.name, seed, streams))
    return outcomes


def _features(target: TransferTarget, branch: MotionBranch | None) -> _Features:
    head = load_trunk(target.run).feature_head
    learned = [sequences_of_views(target.run, video, head, branch) for video in target.training]
    if target.block_N is not None:
        return _Features(learned, [views[0] for views in learned])
    return _Features(learned, [sequences_of_views(target.test_run, video, head, branch)[0] for video in target.tested])


def _cross_scores(
    target: TransferTarget, features: _Features, variant: Variant, seed: int, folder: Path, progress: Progress
) -> list[Floats]:
    """The scores (T, K) of each tested stream by a head that has not learned from it."""
    scores: dict[int, Floats] = {}
    for fold, (learned, tested) in enumerate(target.splits(seed)):
        sequences = [view for i in learned for view in features.learned[i]]
        head = train_variant(target.run, variant, sequences, seed, folder / f"fold{fold}", progress)
        scores |= {int(i): head_scores(head, features.tested[i]) for i in tested}
    return [scores[i] for i in range(len(target.tested))]


def cosines(
    motion_run: Run, target: TransferTarget, seeds: Sequence[int], progress: Progress
) -> dict[str, list[float]]:
    """For each seed, the mean cosine between the distilled map and the teacher's, on the validation videos of the run
    that it learned from and on the tested streams.
    """
    found: dict[str, list[float]] = {"where it learned": [], "on the test": []}
    for seed in seeds:
        branch = learn_motion(motion_run, "distilled", motion_run.out_dir / "motion" / f"seed{seed}", seed, progress)
        assert branch is not None
        found["where it learned"].append(branch.teacher_cosine(motion_run, motion_run.validation))
        found["on the test"].append(branch.teacher_cosine(target.test_run, target.tested))
    return found
