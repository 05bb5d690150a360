"""The command `cake`. What a command needs is imported when it runs: `cake --help` answers at once."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from model import cli as model_cli
from service.bench_cli import bench
from service.keys_cli import keys_app
from service.quick_imports import quick_imports
from service.terminal import FAILED, MISUSED, fail, read_settings

if TYPE_CHECKING:
    from model.detector import Detector
    from model.video import Video

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Watch video and say, live, the moment an action starts.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
SERVE = "Serve"
app.add_typer(keys_app, name="keys", rich_help_panel=SERVE)


@app.command(rich_help_panel=SERVE)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8000")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of database, uploads and pictures.", show_default="data")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes, one core each.", show_default="1")] = None,
    sample: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Play this video in a loop, as a camera would send it."),
    ] = None,
) -> None:
    """Serve the page and the HTTP API, with worker processes of its own. Ctrl-C stops all of it.

    Options win over the environment (CAKE_HOST, CAKE_PORT, CAKE_DATA_DIR, CAKE_WORKERS and further CAKE_ variables).
    """
    with quick_imports():
        import asyncio

        import uvloop

        from service.api.exposure import Exposed, refuse_if_exposed
        from service.api.server import Server
        from service.blobs import BlobUrlInvalid, check_blob_url
        from service.errors import ServiceError
        from service.listening import listen
        from service.serve import serve as run
        from service.store import StoreUrlInvalid, check_store_url
        from service.supervisor import FolderInUse, lock_folder
        from service.telemetry import configure_logging
        from service.tracing import TracingUnavailable

    settings = read_settings(host=host, port=port, data_dir=data_dir, workers=workers)
    configure_logging(settings.log_level, as_json=settings.log_json)
    try:
        check_store_url(settings.resolved_store_url)
        check_blob_url(settings.blob_url)
    except (StoreUrlInvalid, BlobUrlInvalid) as error:
        fail(str(error), MISUSED)
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        where = f"port {settings.port} of {settings.host}"
        fail(f"cannot listen on {where}: {error.strerror or error}. Choose another with --port.", FAILED)
    with listener:
        try:
            server = Server(settings)
            # The server itself holds the lock, and would end with a traceback.
            with lock_folder(settings.data_dir):
                asyncio.run(refuse_if_exposed(settings, listener))
        except (FolderInUse, Exposed, ServiceError, TracingUnavailable) as error:
            fail(str(error), FAILED)
        except OSError as error:
            fail(f"cannot use the data folder {settings.data_dir}: {error.strerror}. Choose another.", FAILED)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(server, listener, sample=sample, on_started=_say_where))


def _say_where(url: str) -> None:
    typer.echo(f"CAKE is at {url} (Ctrl-C stops it)")
    sys.stdout.flush()


@app.command(rich_help_panel=SERVE)
def worker() -> None:
    """Run one worker of a larger deployment, set up by CAKE_ variables. SIGTERM hands its sessions over and ends it."""
    read_settings()
    from service.worker_process import main

    main()


@app.command(rich_help_panel=model_cli.HERE)
def detect(
    source: Annotated[str, typer.Argument(help="A video: a file, or an http or https URL.", metavar="FILE|URL")],
    model: Annotated[str, typer.Option(help="A shipped model's name, or a checkpoint folder.")] = "mocap",
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
    overlay: Annotated[
        Path | None, typer.Option(help="Also write the video with scores and starts drawn on it (.mp4; no sound).")
    ] = None,
) -> None:
    """Print action starts and ends of one video as they are found.

    Events go to stdout, all else to stderr. Exit status 1: the video cannot be read, or the overlay not written;
    2: there is no such model or option.
    """
    from model.video import VideoError, open_video
    from service.video_writer import VideoWriteError

    if overlay is not None and overlay.resolve() == Path(source).resolve():
        fail("--overlay must not replace the video itself", MISUSED)
    began_s = time.monotonic()
    try:
        with open_video(source) as video:
            detector = _load(model)
            with _Progress(video.info.duration_s) as progress:
                starts, end_s = _detect(video, detector, source, overlay, as_json, progress)
            warnings = video.warnings
    except VideoError as error:
        fail(error.detail, FAILED)
    except VideoWriteError as error:
        fail(str(error), FAILED)
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    took_s = time.monotonic() - began_s
    typer.echo(f"{starts} starts in {end_s:.1f} s of video; took {took_s:.1f} s", err=True)


def _load(model: str) -> Detector:
    import torch

    from model.checkpoint import CheckpointInvalid, CheckpointNotFound
    from model.detector import Detector

    # One frame of one stream is too little work to share.
    torch.set_num_threads(1)
    try:
        return Detector.load(model)
    except (CheckpointNotFound, CheckpointInvalid) as error:
        fail(str(error), MISUSED)


def _detect(
    video: Video, detector: Detector, source: str, overlay: Path | None, as_json: bool, progress: _Progress
) -> tuple[int, float]:
    """Print the events; returns the number of starts and the time of the last frame."""
    from model.starts import ActionStart
    from service.detect import analyse, event_json, event_line
    from service.overlay import Overlay

    starts, end_s = 0, 0.0
    with ExitStack() as stack:
        drawing = overlay and stack.enter_context(Overlay(source, overlay, detector.config.labels))
        for analysed in analyse(video, detector):
            for event in analysed.events:
                progress.say(json.dumps(event_json(event, detector)) if as_json else event_line(event))
                starts += isinstance(event, ActionStart)
            if drawing:
                drawing.show(analysed)
            progress.advance(analysed.pts_s)
            end_s = analysed.pts_s
    return starts, end_s


class _Progress:
    """Lines on stdout, and a bar over media time on stderr where that is a terminal. A context manager."""

    def __init__(self, total_s: float | None) -> None:
        console = Console(stderr=True)
        columns = (BarColumn(), TextColumn("{task.completed:.0f} s of video"), TimeRemainingColumn())
        self._bars = Progress(
            *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
        )
        self._task = self._bars.add_task("", total=total_s)
        # On a terminal that shows both, a line must make the bar give way.
        self._shared = console.is_terminal and sys.stdout.isatty()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        if self._shared:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(line)
            sys.stdout.flush()

    def advance(self, done_s: float) -> None:
        self._bars.update(self._task, completed=done_s)


app.command(rich_help_panel=model_cli.HERE)(bench)
model_cli.mount(app)

if __name__ == "__main__":
    app()
