"""The effect of each step of CAKE's recipe: the table of the paper's ablation, with one trained trunk and teacher.

Every variant learns from the same cached maps with the same number of steps; variants differ in the source of their
motion features and in whether the head begins with contrastive learning. Without distillation, the motion branch learns
from the labels, for as many steps as the distillation takes.

Shapes: T frames, D features of a branch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from model.atomic import write_text_atomically
from model.network.head import Head
from model.training.ablation.heads import VARIANTS, Variant, head_scores, train_variant
from model.training.ablation.motion import MotionBranch, learn_motion
from model.training.ablation.sequences import sequences_of_views
from model.training.evaluation.calibrate import calibrate
from model.training.evaluation.evaluate import EvaluationReport, evaluate
from model.training.evaluation.scores import StreamScores
from model.training.layouts.annotations import LabelledVideo
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.video_folders import read_video_folder
from model.training.progress import Progress
from model.training.run import Run
from model.training.stages.distill import cache_static_maps, cache_teacher_maps
from model.training.stages.teacher import train_teacher
from model.training.stages.trunk import load_trunk, train_trunk

RESULTS_FILE = "results.json"


@dataclass(frozen=True)
class VariantResult:
    """One variant under one seed, on the test videos. Start rules were chosen on the validation videos."""

    variant: str
    seed: int
    frame_map: float | None
    start_map_1s: float | None
    start_map_2s: float | None
    false_starts_per_hour: float | None


def ablate(run: Run, test_dir: Path, seeds: Sequence[int], progress: Progress) -> list[VariantResult]:
    """All variants under all seeds. Work that an interrupted call finished is not repeated.

    Trunk and teacher are those of the run; they are trained first if they are missing.
    """
    train_trunk(run, progress)
    train_teacher(run, progress)
    test = _open_test(run, test_dir, progress)
    for each in (run, test):
        videos = [*each.training, *each.validation]
        cache_static_maps(each, videos, progress)
        cache_teacher_maps(each, videos, progress)
    return [result for seed in seeds for result in _ablate_seed(run, test, seed, progress)]


def _ablate_seed(run: Run, test: Run, seed: int, progress: Progress) -> list[VariantResult]:
    """Each seed has its own folder, so that several can run at the same time."""
    folder = run.out_dir / "ablation" / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULTS_FILE
    results = [VariantResult(**each) for each in json.loads(path.read_text())] if path.is_file() else []
    for variant in VARIANTS[len(results) :]:
        results.append(_try(run, test, variant, seed, folder, progress))
        write_text_atomically(path, json.dumps([asdict(result) for result in results], indent=1) + "\n")
    return results


def table(results: Sequence[VariantResult]) -> str:
    """Markdown: mean and, over several seeds, standard deviation of each variant."""
    lines = [
        "| variant | frame mAP | start mAP 1 s | start mAP 2 s | false starts per hour |",
        "| --- | --- | --- | --- | --- |",
    ]
    for variant in VARIANTS:
        of_variant = [result for result in results if result.variant == variant.name]
        columns = [
            [result.frame_map for result in of_variant],
            [result.start_map_1s for result in of_variant],
            [result.start_map_2s for result in of_variant],
        ]
        shares = [_mean_and_spread([value for value in column if value is not None], 3) for column in columns]
        false_starts = _mean_and_spread(
            [r.false_starts_per_hour for r in of_variant if r.false_starts_per_hour is not None], 0
        )
        lines.append(f"| {' | '.join([variant.name, *shares, false_starts])} |")
    return "\n".join(lines)


def _mean_and_spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def _open_test(run: Run, test_dir: Path, progress: Progress) -> Run:
    """The same run on other videos, with a separate cache because their names may be the same."""
    videos = [replace(video, subset="testing") for video in read_video_folder(test_dir)]
    test = replace(run, cache_dir=run.out_dir / "ablation" / "cache", training=(), validation=videos)
    progress.on_stage(f"decoding {len(videos)} test videos")
    failures = test.frames.fill(videos, run.placement.processes, progress)
    test = replace(test, validation=[video for video in videos if video.name not in failures], failures=failures)
    test.cache_flow(progress)
    return test


def _try(run: Run, test: Run, variant: Variant, seed: int, folder: Path, progress: Progress) -> VariantResult:
    motion = learn_motion(run, variant.motion, folder, seed, progress)
    sequences = _sequences(run, run.training, motion)
    head = train_variant(run, variant, sequences, seed, folder, progress)
    scores = [_scores(head, each, each.validation, motion) for each in (run, test)]
    labels = run.config.labels
    settings = calibrate(scores[0], labels)
    report: EvaluationReport = evaluate(scores[1], labels, settings.rules, settings.candidate_rule)
    return VariantResult(
        variant.name,
        seed,
        report.frame_map,
        report.start_map["1"],
        report.start_map["2"],
        report.false_starts_per_hour,
    )


def _sequences(run: Run, videos: Sequence[LabelledVideo], motion: MotionBranch | None) -> list[FeatureSequence]:
    static_head = load_trunk(run).feature_head
    return [each for video in videos for each in sequences_of_views(run, video, static_head, motion)]


def _scores(head: Head, run: Run, videos: Sequence[LabelledVideo], motion: MotionBranch | None) -> list[StreamScores]:
    sequences = _sequences(run, videos, motion)
    return [
        StreamScores(video.name, sequence.pts_s_T, head_scores(head, sequence), video.segments)
        for video, sequence in zip(videos, sequences, strict=True)
    ]
