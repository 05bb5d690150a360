"""Explains a model's output for a video: at which moments, and which parts of the image, supported the label, as in
figure 3 of the paper (see `model.training.look.gradcam`).

Shapes: T frames, S pixels of an image, K labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.config import ModelConfig
from model.detector import Detector
from model.metrics import Floats
from model.network.cake import Cake
from model.thresholds import ActionStart, StartDecoder
from model.training.look.explain_teacher import Teacher
from model.training.look.gradcam import cake_evidence
from model.video.file_reader import open_video
from model.video.preprocess import WHOLE_FRAME, FrameInput, Region, normalise

WINDOW_STEPS = 128
"""Frames up to the explained one on which the network is run afresh: the paper's training window. The explained
score differs from the served one by what the GRU remembers from earlier frames.
"""
PICTURE_PX = 320
MAX_MOMENTS = 8


@dataclass(frozen=True)
class ExplainedMoment:
    """A frame, and the label to explain with its score there, in [0, 1]."""

    index: int
    """Of the sampled frame, from 0."""
    pts_s: float
    label: str
    score: float


@dataclass(frozen=True)
class Explanation:
    """The frame and, for each branch, where it finds evidence for the label."""

    moment: ExplainedMoment
    image_SS3: NDArray[np.uint8]
    maps: dict[str, Floats]
    """Evidence for the label by branch (S, S), not negative: "static", "motion" and, with a teacher, "teacher"."""


def explain_video(
    video: Path,
    model: Cake,
    *,
    at_s: Sequence[float] = (),
    label: str | None = None,
    teacher: Teacher | None = None,
    region: Region = WHOLE_FRAME,
) -> list[Explanation]:
    """In chronological order: the frames shown at `at_s`, or those that `find_moments` picks.

    The model sees `region` of each frame. `label` is explained; without it, at `at_s`, the action with the highest
    score. Raises `VideoError`, and ValueError for a label that the model or the teacher lacks, a time outside the
    video, or a teacher of another sampling rate.
    """
    config = model.config
    if label is not None and label not in config.labels:
        raise ValueError(f"{config.name} has no label {label!r}; it has {', '.join(config.labels)}")
    if teacher is not None:
        _check_teacher(teacher.network.config, config, config.labels[1:] if label is None else (label,))
    pts_s_T, scores_TK = _score(video, model, region)
    if not at_s:
        return list(_explain(video, model, find_moments(pts_s_T, scores_TK, config, label), teacher, region))
    moments = []
    for time_s in sorted(at_s):
        index = _frame_at(time_s, pts_s_T, config.sample_hz)
        moments.append(_moment(index, label or _best_action(scores_TK[index], config), pts_s_T, scores_TK, config))
    return list(_explain(video, model, moments, teacher, region))


def find_moments(
    pts_s_T: Floats, scores_TK: Floats, config: ModelConfig, label: str | None = None
) -> list[ExplainedMoment]:
    """The frames at which an action start (of `label`, if given) is decided: the `MAX_MOMENTS` with the highest scores,
    in chronological order. If the model announces none, the frame with the highest score.
    """
    rules = {name: rule for name, rule in config.start_rules.items() if label in (None, name)}
    decoder = StartDecoder(config.labels, rules)
    moments = [
        _moment(index, event.label, pts_s_T, scores_TK, config)
        for index, (pts_s, scores_K) in enumerate(zip(pts_s_T, scores_TK, strict=True))
        for event in decoder.push(float(pts_s), scores_K.tolist())
        if isinstance(event, ActionStart)
    ]
    if moments:
        surest = sorted(moments, key=lambda moment: -moment.score)[:MAX_MOMENTS]
        return sorted(surest, key=lambda moment: moment.index)
    columns = [config.labels.index(label)] if label else slice(1, None)
    index = int(scores_TK[:, columns].max(axis=1).argmax())
    return [_moment(index, label or _best_action(scores_TK[index], config), pts_s_T, scores_TK, config)]


def _check_teacher(teacher: ModelConfig, student: ModelConfig, labels: Sequence[str]) -> None:
    if teacher.sample_hz != student.sample_hz:
        raise ValueError(f"the teacher takes {teacher.sample_hz:g} frames/s, not {student.sample_hz:g}")
    for label in labels:
        if label not in teacher.labels:
            raise ValueError(f"the teacher has no label {label!r}; it has {', '.join(teacher.labels)}")


def _score(video: Path, model: Cake, region: Region) -> tuple[Floats, Floats]:
    """Times and scores of all sampled frames, computed by the served path."""
    detector = Detector(model)
    stream, config = detector.open_stream(), model.config
    pts_s, scores = [], []
    with open_video(video) as source:
        for frame in source.frames(config.sample_hz, replace(config.frame_input, region=region)):
            pts_s.append(frame.pts_s)
            scores.append(detector.push([stream], frame.image[None])[0])
    return np.array(pts_s), np.stack(scores)


def _explain(
    video: Path, model: Cake, moments: Sequence[ExplainedMoment], teacher: Teacher | None, region: Region
) -> Iterator[Explanation]:
    """Decodes again, in all required sizes in one pass, and keeps only a window."""
    config = model.config
    sizes_px = [PICTURE_PX, config.image_size, *([] if teacher is None else [teacher.image_px])]
    inputs = [FrameInput(size_px, config.framing, region) for size_px in sizes_px]
    windows = [deque[NDArray[np.uint8]](maxlen=WINDOW_STEPS) for _ in inputs]
    with ExitStack() as open_videos:
        sources = [open_videos.enter_context(open_video(video)) for _ in inputs]
        frames = zip(*(s.frames(config.sample_hz, px) for s, px in zip(sources, inputs, strict=True)), strict=True)
        for index, same_frame in enumerate(islice(frames, moments[-1].index + 1)):
            for window, frame in zip(windows, same_frame, strict=True):
                window.append(frame.image)
            for moment in moments:
                if moment.index == index:
                    x_TCSS = torch.from_numpy(normalise(np.stack(windows[1])))
                    maps = cake_evidence(model, x_TCSS, config.labels.index(moment.label), PICTURE_PX)
                    if teacher is not None:
                        maps["teacher"] = teacher.evidence(np.stack(windows[2]), moment.label, PICTURE_PX)
                    yield Explanation(moment, windows[0][-1], maps)


def _frame_at(time_s: float, pts_s_T: Floats, sample_hz: float) -> int:
    end_s = float(pts_s_T[-1]) + 1 / sample_hz
    if not 0 <= time_s < end_s:
        raise ValueError(f"no frame is shown at {time_s:g} s: the video lasts from 0 to {end_s:.1f} s")
    return int(np.searchsorted(pts_s_T, time_s, side="right")) - 1


def _moment(index: int, label: str, pts_s_T: Floats, scores_TK: Floats, config: ModelConfig) -> ExplainedMoment:
    return ExplainedMoment(index, float(pts_s_T[index]), label, float(scores_TK[index, config.labels.index(label)]))


def _best_action(scores_K: Floats, config: ModelConfig) -> str:
    return config.labels[1 + int(scores_K[1:].argmax())]
