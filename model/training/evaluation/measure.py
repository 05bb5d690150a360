"""`cake eval`: a checkpoint measured on any of the data layouts.

Shapes: T frames, D features of a branch, K labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import find_checkpoint, load_parts, read_config
from model.config import ModelConfig
from model.detector import Detector
from model.head import Head
from model.metrics import Floats, count_cliff_diving_as_diving, runs
from model.training.evaluation.clip_report import ClipReport, clip_scores, evaluate_clips
from model.training.evaluation.evaluate import EvaluationReport, evaluate
from model.training.evaluation.scores import Segment, StreamScores
from model.training.evaluation.scoring import score_videos
from model.training.frame_cache import FrameCache
from model.training.layouts.annotations import (
    AMBIGUOUS,
    ANNOTATIONS_FILE,
    SUBSETS,
    DataInvalid,
    LabelledVideo,
    labels_of,
    read_annotations,
)
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.feature_sessions import (
    LIST_FILES,
    TARGET_FOLDER,
    is_feature_folder,
    read_session_lists,
    read_sessions,
)
from model.training.layouts.video_lists import clip_name, read_clips

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""

_CHUNK_STEPS = 1024


class Layout(Enum):
    VIDEOS = "a folder of annotated videos"
    FEATURES = "a folder of per-frame features"
    CLIPS = "a list of clips"


def layout_of(data: Path) -> Layout:
    """What `data` is, by what is there; `DataInvalid` says what was expected."""
    if data.is_file():
        return Layout.CLIPS
    if (data / ANNOTATIONS_FILE).is_file():
        return Layout.VIDEOS
    if is_feature_folder(data):
        return Layout.FEATURES
    raise DataInvalid(
        f"{data}: {'not there' if not data.exists() else 'no data set'}; expected a folder with videos/ and "
        f"{ANNOTATIONS_FILE}, a folder with rgb_*/, flow_*/, {TARGET_FOLDER}/ and {LIST_FILES[0]}, or a text file "
        "with a line 'path label' for each clip"
    )


def measure_videos(
    detector: Detector,
    data_dir: Path,
    cache_dir: Path,
    *,
    subsets: Sequence[str] = SUBSETS,
    cliff_diving_is_diving: bool = False,
    processes: int,
    on_progress: OnProgress,
) -> tuple[EvaluationReport, dict[str, str]]:
    """The annotated videos of `subsets`, and which do not decode. `DataInvalid` when none is left."""
    videos = [video for video in read_annotations(data_dir) if video.subset in subsets]
    _check_labels(data_dir, labels_of(videos), detector.config)
    streams, failures = _score(detector, videos, cache_dir, processes, on_progress)
    if not streams:
        raise DataInvalid(f"{data_dir}: no video of the subsets {', '.join(subsets)} that decodes{_first(failures)}")
    return _evaluate(streams, detector.config, cliff_diving_is_diving), failures


def measure_features(
    model: str | Path,
    data_dir: Path,
    *,
    subsets: Sequence[str] = ("testing",),
    rgb: str | None = None,
    flow: str | None = None,
    cliff_diving_is_diving: bool = False,
    on_progress: OnProgress,
) -> EvaluationReport:
    """The model's head alone, causally over the stored features of the sessions of `subsets`."""
    config, head = load_head(model)
    lists = read_session_lists(data_dir)
    _check_labels(lists.path, lists.labels, config)
    sequences = [s for subset in subsets for s in read_sessions(data_dir, lists, subset, rgb=rgb, flow=flow)]
    if not sequences:
        raise DataInvalid(f"{lists.path}: lists no session of the subsets {', '.join(subsets)}")
    _check_widths(data_dir, sequences[0], config.head.feature_dim)
    streams = []
    for done, sequence in enumerate(sequences, start=1):
        segments = segments_of(sequence, lists.labels)
        streams.append(StreamScores(sequence.name, sequence.pts_s_T, score_features(head, sequence), segments))
        on_progress(f"scoring {len(sequences)} sessions", done, len(sequences))
    return _evaluate(streams, config, cliff_diving_is_diving)


def measure_clips(
    detector: Detector,
    list_file: Path,
    cache_dir: Path,
    *,
    root: Path | None = None,
    class_file: Path | None = None,
    processes: int,
    on_progress: OnProgress,
) -> tuple[ClipReport, dict[str, str]]:
    """The listed clips (see `clip_scores`), and which do not decode. `DataInvalid` when none is left."""
    clips = read_clips(list_file, root, class_file)
    _check_labels(list_file, [clip.label for clip in clips], detector.config)
    truth = {clip_name(clip.path): clip for clip in clips}
    videos = [LabelledVideo(name, clip.path, "testing", 0.0, ()) for name, clip in truth.items()]
    streams, failures = _score(detector, videos, cache_dir, processes, on_progress)
    if not streams:
        raise DataInvalid(f"{list_file}: none of the {len(clips)} clips decodes{_first(failures)}")
    warmup_frames = detector.config.trunk.window_steps - 1
    scores_NK = np.stack([clip_scores(stream.scores, warmup_frames) for stream in streams])
    report = evaluate_clips(scores_NK, [truth[stream.name].label for stream in streams], detector.config.labels)
    return report, {str(truth[name].path): reason for name, reason in failures.items()}


def load_head(model: str | Path) -> tuple[ModelConfig, Head]:
    """Configuration and head of a checkpoint, which may hold nothing else (see `model.training.feature_run`)."""
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
    """The runs of frames with each action, and those that are ambiguous, as segments in seconds."""
    step_s = float(np.median(np.diff(sequence.pts_s_T))) if len(sequence.pts_s_T) > 1 else 1.0
    ends_s_T = np.append(sequence.pts_s_T[1:], sequence.pts_s_T[-1] + step_s)
    columns = [(label, sequence.target_TK[:, k] > 0) for k, label in enumerate(labels) if k > 0]
    return sorted(
        (float(sequence.pts_s_T[first]), float(ends_s_T[last]), label)
        for label, marked_T in [*columns, (AMBIGUOUS, sequence.ambiguous_T)]
        for first, last in zip(*runs(marked_T), strict=True)
    )


def _score(
    detector: Detector, videos: Sequence[LabelledVideo], cache_dir: Path, processes: int, on_progress: OnProgress
) -> tuple[list[StreamScores], dict[str, str]]:
    cache = FrameCache.as_served(cache_dir, detector.config)
    failures = cache.fill(videos, processes, lambda done, total: on_progress(f"decoding {total} videos", done, total))
    streams = score_videos(
        detector,
        [video for video in videos if video.name not in failures],
        cache.load,
        lambda done, total: on_progress(f"scoring {total} videos", done, total),
    )
    return streams, failures


def _evaluate(streams: Sequence[StreamScores], config: ModelConfig, cliff_diving_is_diving: bool) -> EvaluationReport:
    if cliff_diving_is_diving:
        streams = [replace(s, scores=count_cliff_diving_as_diving(s.scores, config.labels)) for s in streams]
    return evaluate(streams, config.labels, config.start_rules, config.candidate_rule)


def _check_labels(where: Path, labels: Sequence[str], config: ModelConfig) -> None:
    unknown = sorted(set(labels) - set(config.labels))
    if unknown:
        told = f"labels that the model does not know: {_listed(unknown)}; it knows {_listed(config.labels)}"
        hint = "; numbers need a file of class names (--classes)" if all(map(str.isdecimal, unknown)) else ""
        raise DataInvalid(f"{where}: {told}{hint}")


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")


def _check_widths(data_dir: Path, sequence: FeatureSequence, expected: int) -> None:
    for kind, features_TD in (("rgb_*", sequence.static_TD), ("flow_*", sequence.motion_TD)):
        if features_TD.shape[1] != expected:
            told = f"{features_TD.shape[1]} features a frame; expected {expected}, which the model's head takes"
            raise DataInvalid(f"{data_dir}/{kind}: {told}")


def _first(failures: Mapping[str, str]) -> str:
    return "".join(f"; {name}: {reason}" for name, reason in list(failures.items())[:1])
