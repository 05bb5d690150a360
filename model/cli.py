"""The commands that need no service: `cake synth`, `cake train`, `cake eval`, `cake models`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from model.training.train import Progress as TrainingProgress

CORES = os.cpu_count() or 1

synth_app = typer.Typer(no_args_is_help=True, help="Make labelled videos.")


@contextmanager
def _failing_clearly(*errors: type[Exception]) -> Iterator[None]:
    """Turn the errors that a user can mend, `errors` and any ValueError, into one line on stderr and exit status 2."""
    caught: tuple[type[Exception], ...] = (ValueError, *errors)
    try:
        yield
    except caught as error:
        typer.echo(f"cake: {error}", err=True)
        raise typer.Exit(2) from error


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


@synth_app.command("mocap")
def synth_mocap(
    out: Annotated[Path, typer.Option(help="Folder for videos/ and annotations.json.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="Length of all streams together.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other streams.")],
    size: Annotated[int, typer.Option(min=32, help="Side of the square picture, pixels.")] = 160,
    fps: Annotated[int, typer.Option(min=1, help="Frames a second.")] = 30,
    stream_s: Annotated[float, typer.Option(min=5.0, help="Length of each stream, seconds.")] = 30.0,
    targets: Annotated[bool, typer.Option(help="Also write joints and masks (fps: a multiple of 10).")] = False,
    subset: Annotated[str | None, typer.Option(help="training, validation or testing; else a mixture.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = CORES,
) -> None:
    """Write MocapStreams: videos of a motion-captured figure, with ActivityNet annotations.

    Needs the extra `train` (pybullet). Cut off, the same command goes on where it was.
    """
    if find_spec("pybullet") is None:
        typer.echo("cake: synth needs pybullet; install it with: pip install -e '.[train]'", err=True)
        raise typer.Exit(2)
    from model.training.mocap import StreamWriteError, write_mocap_streams

    with _failing_clearly(StreamWriteError), _bars() as bars:
        task = bars.add_task("streams", total=None)
        write_mocap_streams(
            out,
            minutes=minutes,
            seed=seed,
            size=size,
            fps=fps,
            stream_s=stream_s,
            workers=workers,
            targets=targets,
            subset=subset,
            on_progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
    typer.echo(f"wrote {out}", err=True)


def train(
    data: Annotated[Path, typer.Option(help="Folder with videos/ and annotations.json.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, the log and the cache of frames.")],
    config: Annotated[str, typer.Option(help="cake-xs or cake-s.")] = "cake-xs",
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 4000,
    seed: Annotated[int, typer.Option(help="Order of the sequences and first weights.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Training processes, one thread each.")] = CORES,
    checkpoint_every_s: Annotated[float, typer.Option(min=0, help="How much a kill may cost.")] = 120.0,
) -> None:
    """Train the causal network on labelled videos and calibrate its start rules.

    Killed at any point, the same command goes on where it was.
    """
    from model.training.finetune import Recipe
    from model.training.train import train as run

    recipe = Recipe(seed=seed, steps=steps, checkpoint_every_s=checkpoint_every_s)
    with _failing_clearly(), _bars() as bars:
        failures = run(data, out, config, recipe, processes=processes, progress=_progress(bars, recipe.steps))
    _report_failures(failures)
    typer.echo(f"wrote {out}; see how good it is with: cake eval --data DIR --model {out}", err=True)


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
    with _failing_clearly(CheckpointNotFound), _bars() as bars, TemporaryDirectory(prefix="cake-eval-") as scratch:
        report, failures = evaluate_on(
            Detector.load(model),
            data,
            cache or Path(scratch),
            subsets=subset or SUBSETS,
            processes=processes,
            progress=_progress(bars, 0),
        )
    _report_failures(failures)
    typer.echo(json.dumps(report.to_json()) if as_json else report.table())


def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models that ship with this version, with their labels."""
    from model.checkpoint import available_models, find_checkpoint, read_config

    configs = {name: read_config(find_checkpoint(name)) for name in available_models()}
    if as_json:
        typer.echo(json.dumps({name: config.to_json() for name, config in configs.items()}))
        return
    for name, config in configs.items():
        typer.echo(f"{name}: {config.image_size} px at {config.sample_hz:g} Hz; {', '.join(config.labels[1:])}")


def _progress(bars: Progress, steps: int) -> TrainingProgress:
    from model.training.train import Progress as TrainingProgress

    videos, training = bars.add_task("videos", total=None), bars.add_task("training", total=steps, visible=steps > 0)

    def on_step(done: int, loss: float) -> None:
        bars.update(training, completed=done, description=f"training, loss {loss:.3f}")

    return TrainingProgress(
        on_stage=lambda text: bars.update(videos, description=text, completed=0, total=None),
        on_video=lambda done, total: bars.update(videos, completed=done, total=total),
        on_step=on_step,
    )


def _report_failures(failures: dict[str, str]) -> None:
    for name, reason in failures.items():
        typer.echo(f"left out {name}: {reason}", err=True)
    if failures:
        typer.echo(f"{len(failures)} videos were left out", err=True)
