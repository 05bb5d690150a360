"""`cake serve`, the server in embedded mode, and `cake worker`, one worker of a larger deployment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from service.cli.interrupts import ended_by_interrupt
from service.cli.terminal import FAILED, MISUSED, fail, read_settings, require_kernel, require_models
from service.quick_imports import quick_imports

if TYPE_CHECKING:
    import socket

    from service.api.server import Server
    from service.settings import Settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 picks a free one.", show_default="8000")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the database, uploads and snapshots.", show_default="data")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes, one core each.", show_default="1")] = None,
    sample: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="[FILE]",
            help="Play this video in a loop, as a camera would send it. Without FILE: the sample of the project.",
        ),
    ] = None,
) -> None:
    """Serve the page and the HTTP API, and run workers. Ctrl-C stops everything.

    Options override the environment variables CAKE_HOST, CAKE_PORT, CAKE_DATA_DIR and CAKE_WORKERS. `cake settings`
    lists all variables.
    """
    with ended_by_interrupt():
        _serve(sample, host=host, port=port, data_dir=data_dir, workers=workers)


def worker() -> None:
    """Run one worker, configured by CAKE_ variables. On SIGTERM it hands its sessions over and exits."""
    with ended_by_interrupt():
        settings = read_settings()
        require_kernel()
        require_models(settings)
        from service.worker.__main__ import main
    main()


def _serve(sample: Path | None, **chosen: object) -> None:
    with quick_imports():
        import asyncio

        import uvloop

        from service.listening import listen
        from service.observability.logs import configure_logging
        from service.storage.objects import BlobUrlError, check_blob_url
        from service.store_url import StoreUrlError, check_store_url

        settings = read_settings(**chosen)
    if settings.workers:
        require_kernel()
        require_models(settings)
    configure_logging(settings.log_level, as_json=settings.log_json)
    try:
        check_store_url(settings.resolved_store_url)
        check_blob_url(settings.blob_url)
    except (StoreUrlError, BlobUrlError) as error:
        fail(str(error), MISUSED)
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        where = f"port {settings.port} of {settings.host}"
        fail(
            f"cannot listen on {where}: {error.strerror or error}. Choose another port: cake serve --port 8001"
            " (with make: make run PORT=8001).",
            FAILED,
        )
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(listener, settings, sample))


async def _run(listener: socket.socket, settings: Settings, sample: Path | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    from service.api.embedded_worker import first_workers

    _prepare_folder(settings)
    # Before the server is imported: the imports of the workers take as long, and run at the same time.
    async with first_workers(settings) as workers:
        server = await _server(listener, settings, with_sample=sample is not None)
        from service.background import background_task

        async with background_task(_accompany(server, page_url(listener), settings, sample)) as companion:
            await server.serve(sockets=[listener], companion=companion, workers=workers)
    if server.failed:
        raise typer.Exit(FAILED)


def _prepare_folder(settings: Settings) -> None:
    from service.api.data_folder import FolderInUseError, forget_dead_workers, lock_folder, make_data_folder

    try:
        make_data_folder(settings)
        # The server takes the lock itself, but would end with a traceback.
        with lock_folder(settings.data_dir):
            forget_dead_workers(settings)
    except FolderInUseError as error:
        fail(str(error), FAILED)
    except OSError as error:
        _fail_for_folder(settings, error)


async def _server(listener: socket.socket, settings: Settings, *, with_sample: bool) -> Server:
    with quick_imports():
        from service.api.app import SignInUnavailableError
        from service.api.server import Server
        from service.cli.exposure import ExposedError, refuse_if_exposed
        from service.errors import ServiceError
        from service.observability.tracing import TracingUnavailableError

        if with_sample:
            import service.cli.sample  # noqa: F401 - used once the server has started

    try:
        server = Server(settings)
        await refuse_if_exposed(settings, listener)
    except (ExposedError, ServiceError, SignInUnavailableError, TracingUnavailableError) as error:
        fail(str(error), FAILED)
    except OSError as error:
        _fail_for_folder(settings, error)
    return server


def _fail_for_folder(settings: Settings, error: OSError) -> NoReturn:
    fail(
        f"cannot use the data folder {settings.data_dir.resolve()}: {error.strerror}. Choose another one with"
        " --data-dir.",
        FAILED,
    )


async def _accompany(server: Server, url: str, settings: Settings, sample: Path | None) -> None:
    """Print where the server is and when it is ready; then play the sample."""
    await server.until_started()
    _print(f"CAKE is at {url} (Ctrl-C stops it)")
    if settings.workers:
        await server.until_ready()
        _print("Ready for videos")
    if sample is None:
        return
    import httpx
    import structlog

    from service.cli.sample import play_sample

    for_people = sys.stdout.isatty() if settings.log_json is None else not settings.log_json
    if for_people:
        _print(f"Playing {sample.name}; its action starts appear here and on the page")
    try:
        await play_sample(url, sample, server.own_key, print_line=_print if for_people else None)
    except httpx.HTTPError as error:
        if not server.should_exit:
            structlog.get_logger(__name__).error("sample stopped", error=str(error))


def page_url(listener: socket.socket) -> str:
    """Where a browser on this machine finds the server."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _print(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
