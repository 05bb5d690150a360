"""`cake bench`: measure the performance of this machine."""

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
from service.cli.terminal import FAILED, MISUSED, fail, read_settings


class Part(StrEnum):
    """What `cake bench` measures."""

    MODELS = "models"
    PEERS = "peers"
    DECODE = "decode"
    SERVICE = "service"
    LOAD = "load"
    CAMERAS = "cameras"
    FAN_OUT = "fan-out"
    REVIEW = "review"
    SUBSCRIPTIONS = "subscriptions"
    STORE = "store"


def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    only: Annotated[
        list[Part] | None,
        typer.Option(metavar="PART", help=f"Measure only this part; may be repeated. One of {', '.join(Part)}."),
    ] = None,
    model: Annotated[str, typer.Option(help="Name or checkpoint folder of the model that the service runs.")] = "mocap",
    sample: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Video of the live session. Default: a generated one."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Also plot load, cameras, fan-out and store to this file (.png, .svg). Needs the extra `train`."
        ),
    ] = None,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers",
            help="Compare with other implementations on one core; alone, or besides the parts that --only names.",
        ),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Check that the benchmark works; its figures are meaningless.")
    ] = False,
) -> None:
    """Measure models, decoding and the service on this machine, each on one thread. The machine must be otherwise idle.

    Rates are per second of processor time, the median of several rounds. All parts but `peers` take about half an hour.
    `peers` only runs if it is named. The part `store` measures the store that CAKE_STORE_URL names, or else a new
    SQLite file.
    """
    from model.checkpoints.folders import CheckpointNotFoundError
    from model.checkpoints.stored import CheckpointError
    from model.video.errors import VideoError
    from service.bench.peers.process import PeersFailedError
    from service.bench.run import run_bench, tables
    from service.bench.server import ServerFailedError
    from service.errors import ServiceError

    parts = _parts(only or [], peers)
    for part in (Part.MODELS, Part.PEERS):
        if part in parts:
            require(f"cake bench --only {part}", "torch", "PyTorch")
    if plot is not None:
        require("cake bench --plot", "matplotlib", "matplotlib")
    # Unlike the default action, an exception lets the measured server be stopped first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def on_stage(text: str) -> None:
        typer.echo(f"measuring {text} …", err=True)

    store_url = read_settings().store_url
    try:
        report = run_bench(parts, quick=quick, model=model, sample=sample, store_url=store_url, on_stage=on_stage)
    except (CheckpointNotFoundError, CheckpointError) as error:
        fail(str(error), MISUSED)
    except VideoError as error:
        fail(error.detail, FAILED)
    except (ServerFailedError, PeersFailedError) as error:
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


def _parts(only: list[Part], peers: bool) -> list[Part]:
    """What to measure. Peers are measured on request only: the comparison needs packages that CAKE does without."""
    named = [*only, *([Part.PEERS] if peers else [])]
    return named or [part for part in Part if part != Part.PEERS]
