"""`cake bench`: what this machine can do."""

from __future__ import annotations

import json
import signal
import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

FAILED, MISUSED = 1, 2


class Part(StrEnum):
    """What `cake bench` measures."""

    MODELS = "models"
    DECODE = "decode"
    SERVICE = "service"
    LOAD = "load"
    CROWD = "crowd"
    STORE = "store"


def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    only: Annotated[list[Part] | None, typer.Option(help="Measure this part; may be repeated. Else all.")] = None,
    model: Annotated[str, typer.Option(help="Name or folder of the model that the service runs.")] = "mocap",
    sample: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Video of the live session. Else a made one.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw load, crowd and store into this file (.png, .svg); extra `train`.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Only show that it works: the figures mean nothing.")] = False,
) -> None:
    """Measure models, decoding and the service on this machine, each on one thread. Leave it idle meanwhile.

    Rates are per second of processor time, the median of several rounds. Takes about fifteen minutes, of which
    `load` ten. `store` measures the store that CAKE_STORE_URL names, else a new SQLite file.
    """
    from model.checkpoint import CheckpointInvalid, CheckpointNotFound
    from model.video import VideoError
    from service.bench.run import run, tables
    from service.bench.server import ServerFailedError
    from service.errors import ServiceError
    from service.settings import Settings

    if plot is not None and find_spec("matplotlib") is None:
        _fail("--plot needs the extra `train`: pip install 'cake-served[train]'.", MISUSED)
    # Unlike its default, an exception lets the server that is being measured be stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def on_stage(text: str) -> None:
        typer.echo(f"measuring {text} …", err=True)

    store_url = Settings().store_url
    try:
        report = run(
            only or list(Part), quick=quick, model=model, sample=sample, store_url=store_url, on_stage=on_stage
        )
    except (CheckpointNotFound, CheckpointInvalid) as error:
        _fail(str(error), MISUSED)
    except VideoError as error:
        _fail(error.detail, FAILED)
    except ServerFailedError as error:
        _fail(str(error), FAILED)
    except ServiceError as error:
        _fail(error.detail, FAILED)
    if plot is not None:
        from service.bench.plot import write_plot

        write_plot(report, plot)
    if as_json:
        typer.echo(json.dumps(report))
        return
    console = Console()
    for table in tables(report):
        console.print(table)


def _fail(sentence: str, status: int) -> NoReturn:
    """End with one line on stderr."""
    typer.echo(f"cake: {sentence}", err=True)
    raise typer.Exit(status)
