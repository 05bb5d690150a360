"""`cake bench`: what this machine can do."""

from __future__ import annotations

import json
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from model.commands.terminal import require
from service.terminal import FAILED, MISUSED, fail, read_settings


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

    if plot is not None:
        require("cake bench --plot", "matplotlib", "matplotlib")
    # Unlike its default, an exception lets the server that is being measured be stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def on_stage(text: str) -> None:
        typer.echo(f"measuring {text} …", err=True)

    store_url = read_settings().store_url
    try:
        report = run(
            only or list(Part), quick=quick, model=model, sample=sample, store_url=store_url, on_stage=on_stage
        )
    except (CheckpointNotFound, CheckpointInvalid) as error:
        fail(str(error), MISUSED)
    except VideoError as error:
        fail(error.detail, FAILED)
    except ServerFailedError as error:
        fail(str(error), FAILED)
    except ServiceError as error:
        fail(error.detail, FAILED)
    if plot is not None:
        from service.bench.plot import write_plot

        write_plot(report, plot)
    if as_json:
        typer.echo(json.dumps(report))
        return
    console = Console()
    for table in tables(report):
        console.print(table)
