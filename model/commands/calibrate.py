"""`cake train calibrate`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from model.commands.progress import show_progress
from model.commands.terminal import (
    CPUS,
    SkipInvalid,
    check_subsets,
    failing_clearly,
    report_failures,
    require,
)
from model.commands.train import Flow, Rgb


def calibrate_command(
    data: Annotated[list[Path], typer.Option(help="Labelled videos, or a feature folder; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder whose start rules are replaced.")],
    subset: Annotated[
        list[str] | None, typer.Option(help="training, validation or testing. Default: validation.", show_default=False)
    ] = None,
    rgb: Rgb = None,
    flow: Flow = None,
    max_false_starts_per_hour: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Limit for each label, on these videos. Default: 45 for all labels together, by cross-validation.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Decoding processes.")] = CPUS,
    skip_invalid: SkipInvalid = False,
) -> None:
    """Choose the start rules of a checkpoint on labelled videos that it was not trained on, and write report.html.

    Works with any checkpoint, trained or imported, at its own image size and rate. To keep false alarms rare, add hours
    of everyday video without any of the actions, and --max-false-starts-per-hour.
    """
    require("train calibrate", "torch", "PyTorch")
    from model.checkpoints.folders import CheckpointNotFoundError, find_checkpoint
    from model.cpus import use_one_thread
    from model.detector import Detector
    from model.training.evaluation.measure import Layout, layout_of, score_annotated, score_sessions
    from model.training.evaluation.scores import StreamScores
    from model.training.layouts.annotations import DataError
    from model.training.train import calibrate_checkpoint

    use_one_thread()
    with failing_clearly(CheckpointNotFoundError), show_progress() as progress, TemporaryDirectory() as scratch:
        check_subsets(subset)
        subsets = subset or ("validation",)
        folder, streams, failures = find_checkpoint(out), list[StreamScores](), dict[str, str]()
        for part in data:
            match layout_of(part):
                case Layout.VIDEOS:
                    scored, failed = score_annotated(
                        Detector.load(folder),
                        part,
                        Path(scratch),
                        subsets=subsets,
                        processes=processes,
                        progress=progress,
                        skip_invalid=skip_invalid,
                    )
                    failures |= failed
                case Layout.FEATURES:
                    _, scored = score_sessions(folder, part, subsets=subsets, rgb=rgb, flow=flow, progress=progress)
                case Layout.CLIPS:
                    raise DataError(
                        f"{part}: a list of clips has no action starts to calibrate on; give annotated videos"
                    )
            streams += scored
        report = calibrate_checkpoint(folder, streams, progress, max_false_starts_per_hour)
    report_failures(failures)
    typer.echo(report.table())
