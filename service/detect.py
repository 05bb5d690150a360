"""Analyse one video right here, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from model.detector import Detector
from model.starts import ActionEnd, ActionStart, StartDecoder
from model.video import Video


@dataclass(frozen=True)
class Analysed:
    """One frame that the detector saw: its media time, one score in [0, 1] for each label, and what it decided."""

    pts_s: float
    scores_K: NDArray[np.float32]
    events: list[ActionStart | ActionEnd]


def analyse(video: Video, detector: Detector) -> Iterator[Analysed]:
    """Each sampled frame of the video; after the last one once more that frame, with the ends of what was open.

    Reads the video once. Raises VideoError when a network source fails on the way.
    """
    config = detector.config
    stream = detector.open_stream()
    starts = StartDecoder(config.labels, config.start_rules)
    last: Analysed | None = None
    for frame in video.frames(config.sample_hz, config.image_size):
        scores_K = detector.push([stream], frame.image[None])[0]
        last = Analysed(frame.pts_s, scores_K, starts.push(frame.pts_s, scores_K.tolist()))
        yield last
    if last is not None and (ends := starts.finish(last.pts_s)):
        yield Analysed(last.pts_s, last.scores_K, list(ends))


def event_line(event: ActionStart | ActionEnd) -> str:
    """An event for people: when, what, how sure."""
    if isinstance(event, ActionStart):
        return f"{event.start_s:9.2f} s  start  {event.label}  {event.score:.2f}"
    return f"{event.end_s:9.2f} s  end    {event.label}  {event.score:.2f}  after {event.end_s - event.start_s:.2f} s"


def event_json(event: ActionStart | ActionEnd, detector: Detector) -> dict[str, object]:
    """An event for programs, with the names that the service's events have."""
    kind = "action.start" if isinstance(event, ActionStart) else "action.end"
    values = {name: round(v, 6) if isinstance(v, float) else v for name, v in asdict(event).items()}
    return {"type": kind, **values, "model": detector.name, "model_version": detector.version}
