"""`cake eval`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from model.commands.terminal import CORES, failing_clearly, progress_bars, report_failures
from model.config import Precision

if TYPE_CHECKING:
    from model.training.evaluation.clip_report import ClipReport
    from model.training.evaluation.evaluate import EvaluationReport
    from model.training.evaluation.measure import Layout, OnProgress


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of videos or of features, or a list of clips.")],
    model: Annotated[str, typer.Option(help="A shipped model's name, or a checkpoint folder.")],
    cache: Annotated[Path | None, typer.Option(help="Keep decoded frames here for the next time.")] = None,
    subset: Annotated[
        list[str] | None,
        typer.Option(help="training, validation or testing; else all videos, or a feature folder's test sessions."),
    ] = None,
    cliff_diving: Annotated[
        bool, typer.Option("--cliff-diving", help="THUMOS'14: count cliff diving as diving too.")
    ] = False,
    rgb: Annotated[str | None, typer.Option(help="Feature folder: which of several rgb_* folders.")] = None,
    flow: Annotated[str | None, typer.Option(help="Feature folder: which of several flow_* folders.")] = None,
    classes: Annotated[Path | None, typer.Option(help="List of clips: file with the classes' names.")] = None,
    root: Annotated[Path | None, typer.Option(help="List of clips: folder that its paths start from.")] = None,
    precision: Annotated[
        Precision, typer.Option(help="auto: as the server runs, in bfloat16 if the processor has it.")
    ] = "float32",
    processes: Annotated[int, typer.Option(min=1, help="Decoding processes.")] = CORES,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Measure a model: frame mAP, calibrated mAP, start mAP, delay and false starts, or the accuracy on clips.

    --data is one of these:

    A folder with videos/ and annotations.json in ActivityNet's form.

    A folder with rgb_*/, flow_*/, target_perframe/ and session lists, as
    THUMOS'14 and TVSeries are shared; the model's head runs on the features.

    A text file with a line 'path label' for each clip, as for Kinetics.
    """
    import torch

    from model.checkpoint import CheckpointNotFound
    from model.detector import Detector
    from model.training.evaluation.measure import Layout, layout_of, measure_clips, measure_features, measure_videos
    from model.training.layouts.annotations import SUBSETS

    torch.set_num_threads(1)  # more threads spin for each other, and lose when the machine has other work
    with (
        failing_clearly(CheckpointNotFound),
        progress_bars() as bars,
        TemporaryDirectory(prefix="cake-eval-") as scratch,
    ):
        if not set(subset or ()) <= set(SUBSETS):
            raise ValueError(f"--subset: expected {', '.join(SUBSETS)}, not {' '.join(subset or ())}")
        layout, on_progress, frames = layout_of(data), _progress(bars), cache or Path(scratch)
        of_streams: dict[str, object] = {"--subset": subset, "--cliff-diving": cliff_diving}
        of_features: dict[str, object] = {"--rgb": rgb, "--flow": flow}
        of_clips: dict[str, object] = {"--classes": classes, "--root": root}
        result: EvaluationReport | ClipReport
        failures: dict[str, str] = {}
        if layout is Layout.CLIPS:
            _refuse(data, layout, of_streams | of_features)
            result, failures = measure_clips(
                Detector.load(model, precision=precision),
                data,
                frames,
                root=root,
                class_file=classes,
                processes=processes,
                on_progress=on_progress,
            )
        elif layout is Layout.FEATURES:
            _refuse(data, layout, of_clips)
            result = measure_features(
                model,
                data,
                subsets=subset or ("testing",),
                rgb=rgb,
                flow=flow,
                cliff_diving_is_diving=cliff_diving,
                on_progress=on_progress,
            )
        else:
            _refuse(data, layout, of_features | of_clips)
            result, failures = measure_videos(
                Detector.load(model, precision=precision),
                data,
                frames,
                subsets=subset or SUBSETS,
                cliff_diving_is_diving=cliff_diving,
                processes=processes,
                on_progress=on_progress,
            )
    report_failures(failures)
    typer.echo(json.dumps(result.to_json()) if as_json else result.table())


def _refuse(data: Path, layout: Layout, options: Mapping[str, object]) -> None:
    """An option that would be ignored is a mistake."""
    given = [option for option, value in options.items() if value]
    if given:
        raise ValueError(f"{given[0]} does not go with {layout.value}, which {data} is")


def _progress(bars: Progress) -> OnProgress:
    task = bars.add_task("reading", total=None)
    return lambda doing, done, total: bars.update(task, description=doing, completed=done, total=total)
