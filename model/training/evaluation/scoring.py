"""What a model says about labelled videos: its scores on every sampled frame, by the path that serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from model.detector import Detector
from model.training.evaluation.scores import StreamScores
from model.training.frame_cache import Frames
from model.training.layouts.annotations import LabelledVideo

BATCH = 8


def score_videos(
    detector: Detector,
    videos: Sequence[LabelledVideo],
    load: Callable[[LabelledVideo], Frames],
    on_progress: Callable[[int, int], None],
) -> list[StreamScores]:
    """Scores of each video, in order. Videos run side by side, `BATCH` at a time, each from its own first frame."""
    scored: list[StreamScores] = []
    for begin in range(0, len(videos), BATCH):
        group = videos[begin : begin + BATCH]
        frames = [load(video) for video in group]
        streams = [detector.open_stream() for _ in group]
        scores: list[list[np.ndarray]] = [[] for _ in group]
        for t in range(max(len(f.pts_s_T) for f in frames)):
            live = [i for i, f in enumerate(frames) if t < len(f.pts_s_T)]
            images = np.stack([frames[i].images_TSS3[t] for i in live])
            for i, row in zip(live, detector.push([streams[i] for i in live], images), strict=True):
                scores[i].append(row)
        for video, f, rows in zip(group, frames, scores, strict=True):
            scored.append(StreamScores(video.name, f.pts_s_T, np.stack(rows), video.segments))
        on_progress(len(scored), len(videos))
    return scored
