"""`cake train`: labelled videos in, a calibrated checkpoint out. Each stage goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from model.checkpoint import read_config, write_config
from model.detector import Detector
from model.training.evaluation.calibrate import calibrate
from model.training.evaluation.evaluate import EvaluationReport, evaluate
from model.training.evaluation.scores import StreamScores
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
    """Raises `StageMismatch` when a stage that one of `stages` needs is not finished or was run with other settings."""
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
    """Chooses the start rules on the validation videos alone, by the path that serves, and writes `report.html`."""
    streams = _score_validation(run, progress)
    config = read_config(run.out_dir)
    progress.on_stage(f"calibrating on {len(streams)} videos")
    settings = calibrate(streams, config.labels)
    config = replace(config, start_rules=settings.rules, candidate_rule=settings.candidate_rule)
    write_config(run.out_dir, config)
    report = evaluate(streams, config.labels, config.start_rules, config.candidate_rule)
    write_report(run.out_dir, streams, config, report, run.out_dir / "report.html")
    return report


def _score_validation(run: Run, progress: Progress) -> list[StreamScores]:
    torch.set_num_threads(1)
    cache = FrameCache.as_served(run.cache_dir, run.config)
    progress.on_stage(f"scoring {len(run.validation)} videos as they are served")
    cache.fill(run.validation, run.placement.processes, progress.on_item)
    return score_videos(Detector.load(run.out_dir), run.validation, cache.load, progress.on_item)
