"""Checks of labels for which the videos must be decoded: segments must lie within them.

Shapes: T frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.training.layouts.annotations import DataError, LabelledVideo
from model.training.layouts.segments import Segment, covered_frames
from model.video.media_time import SAME_TIME_S

_SHOWN = 3


def fit_segments(
    videos: Sequence[LabelledVideo],
    load_pts_s: Callable[[LabelledVideo], NDArray[np.float64]],
    sample_hz: float,
    on_skip: Callable[[str], None],
    *,
    strict: bool = True,
) -> list[LabelledVideo]:
    """The videos with segments that lie within them.

    An end after the end of the video is moved to it. Segments that cover no sampled frame are left out by name. A
    segment that starts before 0 s or after the end cannot be meant in seconds: an error, or left out by name unless
    `strict`.

    Args:
        load_pts_s: times of a video's frames (T,).
        on_skip: takes a sentence for each segment that is left out.

    Raises:
        DataError: segments lie outside their videos.
    """
    outside: list[str] = []
    fitted = [_fit(video, load_pts_s(video), sample_hz, on_skip, outside) for video in videos]
    if outside and strict:
        others = f" (and {len(outside) - _SHOWN} more segments)" if len(outside) > _SHOWN else ""
        raise DataError(
            f"{'; '.join(outside[:_SHOWN])}{others}. Segments are in seconds: are these frames or milliseconds? "
            "Correct them, or leave them out with --skip-invalid"
        )
    for sentence in outside:
        on_skip(sentence)
    return fitted


def _fit(
    video: LabelledVideo,
    pts_s_T: NDArray[np.float64],
    sample_hz: float,
    on_skip: Callable[[str], None],
    outside: list[str],
) -> LabelledVideo:
    length_s = float(pts_s_T[-1]) + 1 / sample_hz
    kept: list[Segment] = []
    for start_s, end_s, label in video.segments:
        named = f"{video.name}: {label} at [{start_s:g}, {end_s:g}]"
        if start_s < -SAME_TIME_S or start_s >= length_s:
            outside.append(f"{named} lies outside the video, which lasts {length_s:.1f} s")
        elif not covered_frames(pts_s_T, start_s, end_s).any():
            on_skip(f"{named} covers no frame at {sample_hz:g} frames per second")
        else:
            kept.append((max(0.0, start_s), min(end_s, length_s), label))
    return replace(video, segments=tuple(kept))
