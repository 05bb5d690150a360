"""`cake train`: labelled videos in, a calibrated checkpoint out. An interrupted stage resumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from model.checkpoints.reference_scores import write_reference_scores
from model.checkpoints.stored import read_config, write_config
from model.cpus import use_one_thread
from model.detector import Detector
from model.training.evaluation.calibrate import calibrate
from model.training.evaluation.evaluate import EvaluationReport, evaluate_model
from model.training.evaluation.scores import StreamScores, scores_without_action
from model.training.evaluation.scoring import score_videos
from model.training.frame_cache import FrameCache
from model.training.progress import Progress
from model.training.recipe import StageName
from model.training.report.write import write_report
from model.training.run import Run
from model.training.stages.contrast import train_contrast
from model.training.stages.distill import distill
from model.training.stages.features import extract_features
from model.training.stages.head import train_head
from model.training.stages.teacher import train_teacher
from model.training.stages.trunk import train_trunk


def train(run: Run, progress: Progress, stages: Sequence[StageName] = tuple(StageName)) -> None:
    """Run `stages` in order.

    Raises:
        StageMismatchError: a stage that one of them needs is not finished, or was run with other settings.
    """
    for stage in stages:
        _function(stage)(run, progress)


def _function(stage: StageName) -> Callable[[Run, Progress], object]:
    match stage:
        case StageName.TRUNK:
            return train_trunk
        case StageName.TEACHER:
            return train_teacher
        case StageName.DISTILL:
            return distill
        case StageName.FEATURES:
            return extract_features
        case StageName.CONTRAST:
            return train_contrast
        case StageName.HEAD:
            return train_head
        case StageName.CALIBRATE:
            return calibrate_run


def calibrate_run(run: Run, progress: Progress) -> EvaluationReport:
    """Choose the start rules on the run's validation videos and write `report.html`."""
    return calibrate_checkpoint(run.out_dir, _score_validation(run, progress), progress)


def calibrate_checkpoint(
    folder: Path,
    streams: Sequence[StreamScores],
    progress: Progress,
    max_false_starts_per_hour: float | None = None,
) -> EvaluationReport:
    """Choose the start rules of the checkpoint in `folder` on its scores of labelled streams (see `calibrate`); write
    `report.html`, and `scores.json`, with which drift is measured.
    """
    config = read_config(folder)
    progress.on_stage(f"calibrating on {len(streams)} videos")
    settings = calibrate(streams, config.labels, max_false_starts_per_hour)
    config = config.with_calibrated_rules(settings.rules, settings.candidate_rule)
    write_config(folder, config)
    write_reference_scores(folder, scores_without_action(streams, config.labels))
    report = evaluate_model(streams, config)
    write_report(folder, streams, config, report, folder / "report.html")
    return report


def _score_validation(run: Run, progress: Progress) -> list[StreamScores]:
    use_one_thread()
    cache = FrameCache.as_served(run.cache_dir, run.config)
    progress.on_stage(f"scoring {len(run.validation)} videos as they are served")
    cache.fill(run.validation, run.placement.processes, progress)
    return score_videos(Detector.load(run.out_dir), run.validation, cache.load, progress.on_item)
