"""Analyse one video in this process, without a server."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.detector import Detector
from model.gaps import GapRule
from model.thresholds import ActionEnd, ActionStart, StartDecoder
from model.video.file_reader import FileReader
from model.video.preprocess import WHOLE_FRAME, Region


@dataclass(frozen=True)
class Analysed:
    """One analysed frame: its media time, one score in [0, 1] per label, and the events decided on it.

    `region` is the name of the region that was analysed; None for the whole frame.
    """

    pts_s: float
    scores_K: NDArray[np.float32]
    events: list[ActionStart | ActionEnd]
    region: str | None = None


def analyse(
    video: FileReader,
    detector: Detector,
    regions: Mapping[str, Region] | None = None,
    labels: Collection[str] | None = None,
) -> Iterator[Analysed]:
    """Yield each sampled frame; then the last frame again, with the ends of actions that were in progress.

    With regions, each is analysed separately, and each frame is yielded once per region, in their order.

    Only actions with one of the `labels` are events; by default all that the model has rules for.

    Reads the video once. Raises VideoError if a network source fails while it is read.
    """
    config = detector.config
    parts: Mapping[str, Region] | Mapping[None, Region] = regions or {None: WHOLE_FRAME}
    inputs = [replace(config.frame_input, region=region) for region in parts.values()]
    streams = [detector.open_stream() for _ in parts]
    rules = {label: rule for label, rule in config.start_rules.items() if labels is None or label in labels}
    starts = [StartDecoder(config.labels, rules) for _ in parts]
    gaps, last_s = GapRule(), None
    latest: list[Analysed] = []
    for frame in video.frames(config.sample_hz, inputs):
        ended_by_gap: list[list[ActionEnd]] = [[] for _ in parts]
        if last_s is not None:
            interval_s = frame.pts_s - last_s
            if gaps.is_gap(interval_s):
                ended_by_gap = [each.gap(frame.pts_s) for each in starts]
                streams = [detector.open_stream() for _ in parts]
            gaps.add(interval_s)
        last_s = frame.pts_s
        scores_RK = detector.push(streams, np.stack(frame.images))
        latest = [
            Analysed(frame.pts_s, scores_K, [*ended, *each.push(frame.pts_s, scores_K.tolist())], name)
            for name, each, scores_K, ended in zip(parts, starts, scores_RK, ended_by_gap, strict=True)
        ]
        yield from latest
    for each, last in zip(starts, latest, strict=False):
        if ends := each.finish(last.pts_s):
            yield replace(last, events=list(ends))


def detected_line(event: ActionStart | ActionEnd, region: str | None = None) -> str:
    """An event for people: time, type, label, region and score."""
    what = event.label if region is None else f"{event.label}  in {region}"
    if isinstance(event, ActionStart):
        return f"{event.start_s:9.2f} s  start  {what}  {event.score:.2f}"
    return f"{event.end_s:9.2f} s  end    {what}  {event.score:.2f}  after {event.end_s - event.start_s:.2f} s"


def event_json(event: ActionStart | ActionEnd, detector: Detector, region: str | None = None) -> dict[str, object]:
    """An event for programs, with the field names of the service's events."""
    kind = "action.start" if isinstance(event, ActionStart) else "action.end"
    values = {name: round(v, 6) if isinstance(v, float) else v for name, v in asdict(event).items()}
    return {"type": kind, "region": region, **values, "model": detector.name, "model_version": detector.version}
