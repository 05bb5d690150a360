"""`cake detect`: the events of one video, without a server."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from service.cli.client import Label
from service.cli.progress import LinesAboveBar
from service.cli.terminal import FAILED, MISUSED, fail, print_warning, require_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model.detector import Detector
    from model.video.file_reader import FileReader
    from model.video.preprocess import Region

COLUMNS = (BarColumn(), TextColumn("{task.completed:.0f} s of video"), TimeRemainingColumn())


def detect(
    source: Annotated[str, typer.Argument(help="Video file, or HTTP or HTTPS URL.", metavar="FILE|URL")],
    model: Annotated[str, typer.Option(help="Name of a shipped model, or a checkpoint folder.")] = "people",
    label: Label = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
    region: Annotated[
        list[str] | None,
        typer.Option(
            help="Analyse this rectangle of the frame, in fractions of its width and height; may be repeated.",
            metavar="NAME=X,Y,WIDTH,HEIGHT",
        ),
    ] = None,
    stream: Annotated[
        int | None,
        typer.Option(help="Number of the video stream to analyse, from 0. Default: chosen automatically.", min=0),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Also write the video with scores and starts drawn on it (.mp4, without sound).")
    ] = None,
) -> None:
    """Print the action starts and ends of one video as they are found.

    Events go to stdout, everything else to stderr. Exit status 1: the video cannot be read or the overlay cannot be
    written. Exit status 2: no such file, unknown model or invalid option.
    """
    from model.video.errors import VideoError
    from model.video.file_reader import open_video
    from model.video.writer import VideoWriteError

    if overlay is not None and overlay.resolve() == Path(source).resolve():
        fail("--overlay would overwrite the video itself; choose another file", MISUSED)
    regions = _parsed_regions(region or [])
    require_file(source)
    began_s = time.monotonic()
    try:
        with open_video(source, stream=stream) as video:
            detector = _load(model)
            _require_labels(label or [], detector)
            with LinesAboveBar(*COLUMNS, total=video.info.duration_s) as progress:
                starts, end_s = _detect(video, detector, regions, label, source, stream, overlay, as_json, progress)
            missed = _missed(video, detector, regions)
            warnings = [*detector.config.warnings, *missed, *video.warnings, *video.notes]
    except VideoError as error:
        fail(error.detail, FAILED)
    except VideoWriteError as error:
        fail(str(error), FAILED)
    for warning in warnings:
        print_warning(warning)
    took_s = time.monotonic() - began_s
    typer.echo(f"{starts} starts in {end_s:.1f} s of video; took {took_s:.1f} s", err=True)


def _parsed_regions(texts: list[str]) -> dict[str, Region]:
    from pydantic import ValidationError

    from model.video.preprocess import Region
    from service.requests import MAX_REGIONS, RegionRequest
    from service.validation_messages import explain_validation_error

    regions: dict[str, Region] = {}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        try:
            x, y, width, height = map(float, numbers.split(","))
            RegionRequest(name=name, x=x, y=y, width=width, height=height)
        except ValidationError as error:
            [first, *_] = error.errors()
            fail(f"--region {text}: {first['loc'][-1]} {explain_validation_error(first)}", MISUSED)
        except ValueError:
            fail(f"--region {text}: expected NAME=X,Y,WIDTH,HEIGHT in fractions, as in door=0.1,0,0.3,1", MISUSED)
        if name in regions:
            fail(f"--region {text}: there are two regions of this name", MISUSED)
        regions[name] = Region(x, y, width, height)
    if len(regions) > MAX_REGIONS:
        fail(f"--region: expected at most {MAX_REGIONS} regions, not {len(regions)}", MISUSED)
    return regions


def _missed(video: FileReader, detector: Detector, regions: dict[str, Region]) -> list[str]:
    """What the network misses of the video, or of the regions."""
    from model.video.preprocess import WHOLE_FRAME

    width, height = video.info.width, video.info.height
    parts: Mapping[str, Region] | Mapping[None, Region] = regions or {None: WHOLE_FRAME}
    found = detector.config.rate_warnings(video.info.rate_hz, detector.name)
    for name, region in parts.items():
        found += replace(detector.config.frame_input, region=region).warnings(width, height, detector.name, name)
    return found


def _load(model: str) -> Detector:
    from model.checkpoints.folders import CheckpointNotFoundError
    from model.checkpoints.stored import CheckpointError
    from model.detector import Detector

    try:
        return Detector.load(model)
    except (CheckpointNotFoundError, CheckpointError) as error:
        fail(str(error), MISUSED)


def _require_labels(labels: list[str], detector: Detector) -> None:
    """End with one line if the model reports no action of one of these names."""
    known = detector.config.start_rules
    if unknown := [label for label in labels if label not in known]:
        fail(f"The model {detector.name!r} has no label {', '.join(unknown)}. Known: {', '.join(known)}.", MISUSED)


def _detect(
    video: FileReader,
    detector: Detector,
    regions: dict[str, Region],
    labels: list[str] | None,
    source: str,
    stream: int | None,
    overlay: Path | None,
    as_json: bool,
    progress: LinesAboveBar,
) -> tuple[int, float]:
    """Print the events; return the number of starts and the media time of the last frame."""
    from model.thresholds import ActionStart
    from service.offline.detect import analyse, detected_line, event_json
    from service.offline.overlay import Overlay

    starts, end_s = 0, 0.0
    with ExitStack() as stack:
        drawing = overlay and stack.enter_context(Overlay(source, stream, overlay, detector.config.labels, regions))
        for analysed in analyse(video, detector, regions, labels or None):
            for event in analysed.events:
                as_object = event_json(event, detector, analysed.region) if as_json else None
                progress.say(detected_line(event, analysed.region) if as_object is None else json.dumps(as_object))
                starts += isinstance(event, ActionStart)
            if drawing:
                drawing.show(analysed)
            progress.advance(analysed.pts_s)
            end_s = analysed.pts_s
    return starts, end_s
