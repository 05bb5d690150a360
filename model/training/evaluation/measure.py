"""`cake eval`: measures a checkpoint on any of the data layouts.

Shapes: T frames, D features of a branch, K labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

import numpy as np
import torch

from model.checkpoints.checkpoint import load_parts
from model.checkpoints.folders import find_checkpoint
from model.checkpoints.stored import read_config
from model.config import ModelConfig
from model.detector import Detector
from model.metrics import Floats, count_cliff_diving_as_diving, runs
from model.network.head import Head
from model.training.evaluation.centred_clips import CentredClips
from model.training.evaluation.clip_report import ClipReport, clip_scores, evaluate_clips
from model.training.evaluation.evaluate import EvaluationReport, evaluate_model
from model.training.evaluation.scores import StreamScores
from model.training.evaluation.scoring import score_videos
from model.training.frame_cache import FrameCache
from model.training.layouts.annotations import SUBSETS, DataError, LabelledVideo, labels_of
from model.training.layouts.decoded import fit_segments
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.feature_sessions import (
    LIST_FILES,
    TARGET_FOLDER,
    is_feature_folder,
    read_session_lists,
    read_sessions,
)
from model.training.layouts.segments import AMBIGUOUS, Segment
from model.training.layouts.video_folders import is_video_folder, read_video_folder
from model.training.layouts.video_lists import clip_name, read_clips
from model.training.progress import Progress

_CHUNK_STEPS = 1024


class Layout(Enum):
    """The layouts of data that can be measured."""

    VIDEOS = "a folder of annotated videos"
    FEATURES = "a folder of per-frame features"
    CLIPS = "a list of clips"


def layout_of(data: Path) -> Layout:
    """The layout of `data`, judged by its files; `DataError` says what was expected."""
    if data.is_file():
        return Layout.CLIPS
    if is_video_folder(data):
        return Layout.VIDEOS
    if is_feature_folder(data):
        return Layout.FEATURES
    raise DataError(
        f"{data}: {'not there' if not data.exists() else 'no data set'}; expected a folder with videos/ and "
        f"annotations.json or annotations/ (text files of THUMOS'14 or TVSeries), a folder with rgb_*/, flow_*/, "
        f"{TARGET_FOLDER}/ and {LIST_FILES[0]}, or a text file with a line 'path label' for each clip"
    )


def measure_videos(
    detector: Detector | CentredClips,
    data_dir: Path,
    cache_dir: Path,
    *,
    subsets: Sequence[str] = SUBSETS,
    cliff_diving_is_diving: bool = False,
    processes: int,
    progress: Progress,
    skip_invalid: bool = False,
) -> tuple[EvaluationReport, dict[str, str]]:
    """The report on the annotated videos of `subsets`, and which do not decode; see `score_annotated`."""
    streams, failures = score_annotated(
        detector,
        data_dir,
        cache_dir,
        subsets=subsets,
        processes=processes,
        progress=progress,
        skip_invalid=skip_invalid,
    )
    return _evaluate(streams, detector.config, cliff_diving_is_diving), failures


def score_annotated(
    detector: Detector | CentredClips,
    data_dir: Path,
    cache_dir: Path,
    *,
    subsets: Sequence[str],
    processes: int,
    progress: Progress,
    skip_invalid: bool = False,
) -> tuple[list[StreamScores], dict[str, str]]:
    """Scores of the annotated videos of `subsets`, and which do not decode, with the reason.

    Args:
        skip_invalid: leave out missing videos and segments that cannot be used, with a warning for each.

    Raises:
        DataError: the layout is wrong, the model lacks a label, or no video is left.
    """
    videos = read_video_folder(data_dir, subsets, progress.on_warning if skip_invalid else None)
    _check_labels(data_dir, labels_of(videos), detector.config)
    cache, videos, failures = _decode(detector.config, videos, cache_dir, processes, progress)
    hz = detector.config.sample_hz
    videos = fit_segments(videos, cache.load_pts_s, hz, progress.on_warning, strict=not skip_invalid)
    streams = _score(detector, videos, cache, progress)
    if not streams:
        raise DataError(f"{data_dir}: no video of the subsets {', '.join(subsets)} that decodes{_first(failures)}")
    return streams, failures


def measure_features(
    model: str | Path,
    data_dir: Path,
    *,
    subsets: Sequence[str] = ("testing",),
    rgb: str | None = None,
    flow: str | None = None,
    cliff_diving_is_diving: bool = False,
    progress: Progress,
) -> EvaluationReport:
    """The report on the stored features of the sessions of `subsets`; see `score_sessions`."""
    config, streams = score_sessions(model, data_dir, subsets=subsets, rgb=rgb, flow=flow, progress=progress)
    return _evaluate(streams, config, cliff_diving_is_diving)


def score_sessions(
    model: str | Path,
    data_dir: Path,
    *,
    subsets: Sequence[str],
    rgb: str | None,
    flow: str | None,
    progress: Progress,
) -> tuple[ModelConfig, list[StreamScores]]:
    """The model's configuration, and its head's scores, causally over the features of the sessions of `subsets`.

    Raises:
        DataError: the layout is wrong, the model lacks a label or takes features of another width or rate, or there is
            no session.
    """
    config, head = load_head(model)
    lists = read_session_lists(data_dir)
    _check_labels(lists.path, lists.labels, config)
    sequences = [s for subset in subsets for s in read_sessions(data_dir, lists, subset, rgb=rgb, flow=flow)]
    if not sequences:
        raise DataError(f"{lists.path}: lists no session of the subsets {', '.join(subsets)}")
    _check_widths(data_dir, sequences[0], config)
    if lists.feature_hz != config.sample_hz:
        raise DataError(
            f"{lists.path}: fps: the features have {lists.feature_hz:g} frames per second; the model was trained with "
            f"{config.sample_hz:g} per second, so its times would be wrong"
        )
    streams = []
    progress.on_stage(f"scoring {len(sequences)} sessions")
    for done, sequence in enumerate(sequences, start=1):
        segments = segments_of(sequence, lists.labels)
        streams.append(StreamScores(sequence.name, sequence.pts_s_T, score_features(head, sequence), segments))
        progress.on_item(done, len(sequences))
    return config, streams


def measure_clips(
    detector: Detector,
    list_file: Path,
    cache_dir: Path,
    *,
    root: Path | None = None,
    class_file: Path | None = None,
    processes: int,
    progress: Progress,
) -> tuple[ClipReport, dict[str, str]]:
    """The listed clips (see `clip_scores`), and which do not decode. `DataError` when none is left."""
    clips = read_clips(list_file, root, class_file)
    _check_labels(list_file, [clip.label for clip in clips], detector.config)
    truth = {clip_name(clip.path): clip for clip in clips}
    videos = [LabelledVideo(name, clip.path, "testing", ()) for name, clip in truth.items()]
    cache, videos, failures = _decode(detector.config, videos, cache_dir, processes, progress)
    streams = _score(detector, videos, cache, progress)
    if not streams:
        raise DataError(f"{list_file}: none of the {len(clips)} clips decodes{_first(failures)}")
    warmup_frames = detector.config.trunk.window_steps - 1
    scores_NK = np.stack([clip_scores(stream.scores, warmup_frames) for stream in streams])
    report = evaluate_clips(scores_NK, [truth[stream.name].label for stream in streams], detector.config.labels)
    return report, {str(truth[name].path): reason for name, reason in failures.items()}


def load_head(model: str | Path) -> tuple[ModelConfig, Head]:
    """The configuration and head of a checkpoint, which may hold nothing else (see `model.training.feature_run`)."""
    config = read_config(find_checkpoint(model))
    head = Head(config.head, len(config.labels))
    load_parts(model, config.trunk, {"head": head})
    return config, head.eval()


@torch.inference_mode()
def score_features(head: Head, sequence: FeatureSequence) -> Floats:
    """Scores (T, K) of every frame, each from the frames up to it."""
    hidden_BH = head.fresh(1)
    scores: list[Floats] = []
    for begin in range(0, len(sequence.pts_s_T), _CHUNK_STEPS):
        window = slice(begin, begin + _CHUNK_STEPS)
        features_TF = np.concatenate([sequence.static_TD[window], sequence.motion_TD[window]], axis=1)
        logits_BTK, hidden_BH = head.logits(torch.from_numpy(features_TF)[None], hidden_BH)
        scores.append(head.activate(logits_BTK)[0].numpy())
    return np.concatenate(scores)


def segments_of(sequence: FeatureSequence, labels: Sequence[str]) -> list[Segment]:
    """The runs of frames with each action, and the ambiguous ones, as segments in seconds."""
    step_s = float(np.median(np.diff(sequence.pts_s_T))) if len(sequence.pts_s_T) > 1 else 1.0
    ends_s_T = np.append(sequence.pts_s_T[1:], sequence.pts_s_T[-1] + step_s)
    columns = [(label, sequence.labels.target_TK[:, k] > 0) for k, label in enumerate(labels) if k > 0]
    return sorted(
        (float(sequence.pts_s_T[first]), float(ends_s_T[last]), label)
        for label, marked_T in [*columns, (AMBIGUOUS, sequence.labels.ambiguous_T)]
        for first, last in zip(*runs(marked_T), strict=True)
    )


def _decode(
    config: ModelConfig, videos: Sequence[LabelledVideo], cache_dir: Path, processes: int, progress: Progress
) -> tuple[FrameCache, list[LabelledVideo], dict[str, str]]:
    """The cache of the frames, the videos that decode, and the others with the reason."""
    cache = FrameCache.as_served(cache_dir, config)
    progress.on_stage(f"decoding {len(videos)} videos")
    failures = cache.fill(videos, processes, progress)
    return cache, [video for video in videos if video.name not in failures], failures


def _score(
    detector: Detector | CentredClips, videos: Sequence[LabelledVideo], cache: FrameCache, progress: Progress
) -> list[StreamScores]:
    progress.on_stage(f"scoring {len(videos)} videos")
    if isinstance(detector, CentredClips):
        return detector.score(videos, cache.load, progress.on_item)
    return score_videos(detector, videos, cache.load, progress.on_item)


def _evaluate(streams: Sequence[StreamScores], config: ModelConfig, cliff_diving_is_diving: bool) -> EvaluationReport:
    if cliff_diving_is_diving:
        streams = [replace(s, scores=count_cliff_diving_as_diving(s.scores, config.labels)) for s in streams]
    return evaluate_model(streams, config)


def _check_labels(where: Path, labels: Sequence[str], config: ModelConfig) -> None:
    unknown = sorted(set(labels) - set(config.labels))
    if unknown:
        mismatch = f"labels that the model does not know: {_listed(unknown)}; it knows {_listed(config.labels)}"
        hint = "; numbers need a file of class names (--classes)" if all(map(str.isdecimal, unknown)) else ""
        raise DataError(f"{where}: {mismatch}{hint}")


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")


def _check_widths(data_dir: Path, sequence: FeatureSequence, config: ModelConfig) -> None:
    found = sequence.static_TD.shape[1], sequence.motion_TD.shape[1]
    if found != config.head.feature_widths:
        rgb, flow = config.head.feature_widths
        raise DataError(
            f"{data_dir}: {found[0]} features a frame in rgb_*, {found[1]} in flow_*; the model's head takes {rgb} and "
            f"{flow}"
        )


def _first(failures: Mapping[str, str]) -> str:
    return "".join(f"; {name}: {reason}" for name, reason in list(failures.items())[:1])
