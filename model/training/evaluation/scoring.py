"""A model's scores for labelled videos, on every sampled frame, computed by the served path."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from model.detector import Detector
from model.gaps import frames_after_gaps
from model.training.evaluation.scores import StreamScores
from model.training.frame_cache import Frames
from model.training.layouts.annotations import LabelledVideo

_VIDEOS_TOGETHER = 8


def score_videos(
    detector: Detector,
    videos: Sequence[LabelledVideo],
    load: Callable[[LabelledVideo], Frames],
    on_progress: Callable[[int, int], None],
) -> list[StreamScores]:
    """Scores of each video, in order. A few videos run in one batch, each from its own first frame.

    As in a session, the detector restarts after a gap.
    """
    scored: list[StreamScores] = []
    for begin in range(0, len(videos), _VIDEOS_TOGETHER):
        group = videos[begin : begin + _VIDEOS_TOGETHER]
        frames = [load(video) for video in group]
        streams = [detector.open_stream() for _ in group]
        after_gap = [frames_after_gaps(f.pts_s_T) for f in frames]
        scores: list[list[np.ndarray]] = [[] for _ in group]
        for t in range(max(len(f.pts_s_T) for f in frames)):
            live = [i for i, f in enumerate(frames) if t < len(f.pts_s_T)]
            for i in live:
                if after_gap[i][t]:
                    streams[i] = detector.open_stream()
            images = np.stack([frames[i].images_TSS3[t] for i in live])
            for i, row in zip(live, detector.push([streams[i] for i in live], images), strict=True):
                scores[i].append(row)
        for video, f, rows in zip(group, frames, scores, strict=True):
            scored.append(StreamScores(video.name, f.pts_s_T, np.stack(rows), video.segments))
        on_progress(len(scored), len(videos))
    return scored
