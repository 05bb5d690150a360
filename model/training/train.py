"""`cake train`: labelled videos in, a calibrated checkpoint out. Every stage goes on where an interrupted run left
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from model.checkpoint import read_config, write_config
from model.config import BACKGROUND, ModelConfig, architecture
from model.detector import Detector
from model.training.batches import MARGIN, load_training_videos
from model.training.calibrate import calibrate
from model.training.data import DataInvalid, LabelledVideo, cache_frames, labels_of, load_frames, read_annotations
from model.training.evaluate import EvaluationReport, evaluate
from model.training.finetune import Recipe, finetune
from model.training.scores import StreamScores
from model.training.scoring import score_videos

CACHE_DIR = "cache"


@dataclass(frozen=True)
class Progress:
    """What to call as work goes on: each gets what is done, and of how much."""

    on_stage: Callable[[str], None]
    on_video: Callable[[int, int], None]
    on_step: Callable[[int, float], None]
    """Finished training steps and the recent mean loss."""


def train(
    data_dir: Path, out_dir: Path, config_name: str, recipe: Recipe, *, processes: int, progress: Progress
) -> dict[str, str]:
    """Train `config_name` on the training videos, calibrate on the validation videos, write the checkpoint to
    `out_dir`.

    Returns the videos that did not decode, with the reason; they were left out. Raises `DataInvalid` for a wrong
    layout.
    """
    videos = read_annotations(data_dir)
    labels = (BACKGROUND, *labels_of(videos))
    config = architecture(config_name, labels)
    training = [video for video in videos if video.subset == "training"]
    validation = [video for video in videos if video.subset == "validation"]
    training_failures, training = _cache(training, out_dir, config, MARGIN, processes, progress)
    failures, validation = _cache(validation, out_dir, config, 0, processes, progress)
    if not training or not validation:
        raise DataInvalid(f"{data_dir}: needs videos of the subsets 'training' and 'validation' that decode")
    load = partial(
        load_training_videos,
        training,
        labels,
        data_dir,
        out_dir / CACHE_DIR,
        sample_hz=config.sample_hz,
        size=config.image_size + MARGIN,
    )
    progress.on_stage(f"training {config.name} on {len(training)} videos")
    finetune(config, load, out_dir, recipe, processes=processes, on_step=progress.on_step)
    progress.on_stage(f"calibrating on {len(validation)} videos")
    calibrate_checkpoint(out_dir, _score(Detector.load(out_dir), validation, out_dir, progress))
    return training_failures | failures


def calibrate_checkpoint(checkpoint_dir: Path, streams: Sequence[StreamScores]) -> None:
    """Choose the start rules on scored validation streams and store them in the checkpoint's configuration."""
    config = read_config(checkpoint_dir)
    settings = calibrate(streams, config.labels)
    write_config(checkpoint_dir, replace(config, start_rules=settings.rules, candidate_rule=settings.candidate_rule))


def evaluate_on(
    detector: Detector,
    data_dir: Path,
    cache_dir: Path,
    *,
    subsets: Sequence[str],
    processes: int,
    progress: Progress,
) -> tuple[EvaluationReport, dict[str, str]]:
    """Evaluate on the videos of `subsets`, and the videos that do not decode. `DataInvalid` when none is left."""
    videos = [video for video in read_annotations(data_dir) if video.subset in subsets]
    failures, videos = _cache(videos, cache_dir, detector.config, 0, processes, progress)
    if not videos:
        raise DataInvalid(f"{data_dir}: no video of the subsets {', '.join(subsets)} that decodes")
    unknown = sorted(set(labels_of(videos)) - set(detector.config.labels))
    if unknown:
        raise DataInvalid(f"{data_dir}: labels that {detector.name} does not know: {', '.join(unknown)}")
    streams = _score(detector, videos, cache_dir, progress)
    config = detector.config
    return evaluate(streams, config.labels, config.start_rules, config.candidate_rule), failures


def _cache(
    videos: Sequence[LabelledVideo],
    out_dir: Path,
    config: ModelConfig,
    margin: int,
    processes: int,
    progress: Progress,
) -> tuple[dict[str, str], list[LabelledVideo]]:
    progress.on_stage(f"decoding {len(videos)} videos")
    failures = cache_frames(
        videos,
        out_dir / CACHE_DIR,
        sample_hz=config.sample_hz,
        size=config.image_size + margin,
        processes=processes,
        on_progress=progress.on_video,
    )
    return failures, [video for video in videos if video.name not in failures]


def _score(
    detector: Detector, videos: Sequence[LabelledVideo], out_dir: Path, progress: Progress
) -> list[StreamScores]:
    size, sample_hz = detector.config.image_size, detector.config.sample_hz
    return score_videos(
        detector,
        videos,
        lambda video: load_frames(out_dir / CACHE_DIR, video.name, sample_hz=sample_hz, size=size),
        progress.on_video,
    )
