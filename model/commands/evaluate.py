"""`cake eval`."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from model.commands.terminal import CORES, failing_clearly, progress_bars, report_failures
from model.commands.train import training_progress


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder with videos/ and annotations.json.")],
    model: Annotated[str, typer.Option(help="A shipped model's name, or a checkpoint folder.")],
    cache: Annotated[Path | None, typer.Option(help="Keep decoded frames here for the next time.")] = None,
    subset: Annotated[list[str] | None, typer.Option(help="Subsets to evaluate on; else all.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Decoding processes.")] = CORES,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Measure a model on labelled videos: frame mAP, calibrated mAP, start mAP, delay, false starts."""
    import torch

    from model.checkpoint import CheckpointNotFound
    from model.detector import Detector
    from model.training.data import SUBSETS
    from model.training.train import evaluate_on

    torch.set_num_threads(1)  # more threads spin for each other, and lose when the machine has other work
    with (
        failing_clearly(CheckpointNotFound),
        progress_bars() as bars,
        TemporaryDirectory(prefix="cake-eval-") as scratch,
    ):
        report, failures = evaluate_on(
            Detector.load(model),
            data,
            cache or Path(scratch),
            subsets=subset or SUBSETS,
            processes=processes,
            progress=training_progress(bars, 0),
        )
    report_failures(failures)
    typer.echo(json.dumps(report.to_json()) if as_json else report.table())
