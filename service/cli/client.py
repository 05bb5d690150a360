"""`cake submit`, `watch`, `sessions`, `events` and `push`: use a running server over its HTTP API."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer
from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

from service.cli.metadata import metadata_pairs, values_of
from service.cli.progress import LinesAboveBar
from service.cli.refusals import refusal
from service.cli.terminal import FAILED, MISUSED, fail, print_warning, require_file

if TYPE_CHECKING:
    from cake_client import AsyncClient, Client, Session, SessionOptions

    C = TypeVar("C", Client, AsyncClient)

CHUNK_BYTES = 64 * 1024
BYTES = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())


Server = Annotated[
    str,
    typer.Option(
        envvar="CAKE_SERVER",
        help="Address of the server. Its API key, if it requires one, comes from the variable CAKE_KEY.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
Model = Annotated[str | None, typer.Option(help="Name of a model. Default: the server's.", show_default=False)]
Label = Annotated[
    list[str] | None, typer.Option(metavar="LABEL", help="Report only this action; may be repeated. Default: all.")
]
Pace = Annotated[
    str | None,
    typer.Option(
        metavar="fast|realtime",
        help="Speed of the analysis. Default: realtime for cameras and stdin, else fast.",
        show_default=False,
    ),
]
Name = Annotated[str | None, typer.Option(help="Display name of the session.", show_default=False)]
Metadata = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Text that every event carries; may be repeated.")
]
Webhook = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Post the session's events to URL, signed with CAKE_WEBHOOK_SECRET or a secret that is printed to stderr.",
        show_default=False,
    ),
]
SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="Id of the session.")]
After = Annotated[str | None, typer.Option(metavar="ID", help="Only events after this one.", show_default=False)]
WEBHOOK_SECRET = "CAKE_WEBHOOK_SECRET"
LOCAL = "http://127.0.0.1:8000"


def submit(
    source: Annotated[str, typer.Argument(help="Video file, or URL of a video or camera.", metavar="FILE|URL")],
    server: Server = LOCAL,
    model: Model = None,
    label: Label = None,
    pace: Pace = None,
    name: Name = None,
    metadata: Metadata = None,
    webhook: Webhook = None,
    follow: Annotated[
        bool, typer.Option("--watch", help="Afterwards print the session's events until it has ended.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Submit a video to a server and print the id of its session.

    Exit status 1: the server rejected the request or cannot be reached, or with --watch, the session failed.
    """
    with connected_client(server) as client:
        session = _submit(client, source, _options(model, label, pace, name, metadata, webhook))
    for warning in session.warnings:
        print_warning(warning)
    if not as_json or follow:
        _print_secret(session)
    if not follow:
        typer.echo(session.model_dump_json() if as_json else session.id)
        return
    typer.echo(session.id, err=True)
    watch(session.id, server, None, as_json)


def watch(
    session: Annotated[str | None, typer.Argument(metavar="[SESSION]", help="Id. Default: all sessions.")] = None,
    server: Server = LOCAL,
    after: After = None,
    as_json: Json = False,
) -> None:
    """Print the events of a session, each once, until it has ended; or new events of all sessions, until Ctrl-C.

    Reconnects when the server restarts. Without a session, `--after` takes a cursor. Exit status 1: the session failed.
    """
    import asyncio

    from cake_client import AsyncClient
    from service.cli import watching

    with _failing_in_one_line():
        client = _made(AsyncClient, server)
        if session is None:
            asyncio.run(watching.print_all_events(client, after, as_json))
            return
        last = asyncio.run(watching.print_events(client, session, after, as_json))
    if getattr(last, "state", None) == "failed":
        raise typer.Exit(FAILED)


def sessions(
    server: Server = LOCAL,
    state: Annotated[
        str | None, typer.Option(help="Only sessions in this state, such as running or failed.", show_default=False)
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Only sessions with this name. Repeat for several.", show_default=False)
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only sessions with this value. May be repeated.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of sessions.")] = 50,
    as_json: Json = False,
) -> None:
    """List the sessions of a server, newest first."""
    wanted = values_of(metadata)
    with connected_client(server) as client:
        listed = client.sessions(state=state, names=name or (), metadata=wanted, page_size=min(limit, 200))
        found = list(islice(listed, limit))
    if as_json:
        for session in found:
            typer.echo(session.model_dump_json())
        return
    from service.cli.event_lines import session_row
    from service.cli.tables import print_table

    titles = ("id", "state", "name", "model", "position", "submitted")
    print_table(titles, map(session_row, found), numbers=("position",))


def events(session: SessionId, server: Server = LOCAL, after: After = None, as_json: Json = False) -> None:
    """Print the events of a session so far."""
    from service.cli.event_lines import event_text

    with connected_client(server) as client:
        while (page := client.events(session, after=after)).events:
            for event in page.events:
                typer.echo(event_text(event, as_json))
            after = page.next


def push(
    source: Annotated[
        str, typer.Argument(metavar="FILE|-", help="MPEG-TS, Matroska, WebM or fragmented MP4; - reads stdin.")
    ],
    server: Server = LOCAL,
    session: Annotated[
        str | None, typer.Option(help="Push to this session. Default: a new one.", show_default=False)
    ] = None,
    model: Model = None,
    label: Label = None,
    pace: Pace = None,
    name: Name = None,
    metadata: Metadata = None,
    webhook: Webhook = None,
    as_json: Json = False,
) -> None:
    """Send a stream to a server until the stream ends. Prints the id of its session first.

    With the pace `realtime` a file is sent as fast as it was recorded, else as fast as the server reads it.
    Exit status 1: the server rejected the request, cannot be reached, or no longer reads the stream.
    """
    from model.video.errors import VideoError
    from service.cli.paced_file import paced

    options = _options(model, label, pace or ("realtime" if source == "-" else "fast"), name, metadata, webhook)
    with _opened(source) as stream, connected_client(server) as client:
        target = client.submit_push(options) if session is None else client.session(session)
        typer.echo(target.model_dump_json() if as_json else target.id)
        if not as_json:
            _print_secret(target)
        sys.stdout.flush()
        size_bytes = None if source == "-" else os.fstat(stream.fileno()).st_size
        is_paced = source != "-" and target.pace == "realtime" and Path(source).is_file()
        with LinesAboveBar(*BYTES, total=size_bytes) as bar:
            try:
                client.push(target.id, _shown(paced(Path(source)) if is_paced else _chunks(stream), bar))
            except VideoError as error:
                fail(error.detail, FAILED)


@contextmanager
def _failing_in_one_line() -> Iterator[None]:
    """End with one line: the code and what to do."""
    from cake_client import CakeError

    try:
        yield
    except CakeError as error:
        fail(refusal(error), FAILED)


@contextmanager
def connected_client(server: str) -> Iterator[Client]:
    """A client of this server. Its errors end the command with one line."""
    from cake_client import Client

    with _failing_in_one_line(), _made(Client, server) as client:
        yield client


def _made(client: type[C], server: str) -> C:
    """A client that does not retry: a person is waiting, and can repeat the command."""
    try:
        return client(server, os.environ.get("CAKE_KEY") or None, retry_for_s=0)
    except ValueError as error:
        fail(f"--server: {error}", MISUSED)


def _options(
    model: str | None,
    label: list[str] | None,
    pace: str | None,
    name: str | None,
    metadata: list[str] | None,
    webhook: str | None,
) -> SessionOptions:
    from cake_client import SessionOptions

    return SessionOptions(
        model=model,
        labels=label or None,
        pace=pace,
        name=name,
        metadata=dict(metadata_pairs(metadata)) or None,
        webhook_url=webhook,
        webhook_secret=os.environ.get(WEBHOOK_SECRET) or None,
    )


def _print_secret(session: Session) -> None:
    """The secret that the server has chosen for the session's webhook, if it has."""
    if session.webhook is not None and session.webhook.secret and not os.environ.get(WEBHOOK_SECRET):
        typer.echo(f"secret: {session.webhook.secret}", err=True)


def _submit(client: Client, source: str, options: SessionOptions) -> Session:
    if "://" in source:
        return client.submit_url(source, options)
    require_file(source)
    with LinesAboveBar(*BYTES, total=None) as bar:
        try:
            return client.submit_file(source, options, on_progress=bar.advance)
        except OSError as error:
            fail(f"{source}: {error.strerror}", MISUSED)


@contextmanager
def _opened(source: str) -> Iterator[BufferedReader]:
    """The file, or stdin for `-`."""
    if source == "-":
        yield cast("BufferedReader", sys.stdin.buffer)
        return
    require_file(source)
    try:
        file = Path(source).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        fail(f"{source}: {error.strerror}", MISUSED)
    with file:
        yield file


def _chunks(stream: BufferedReader) -> Iterator[bytes]:
    # `read1` returns what a pipe has now, without waiting for a whole chunk.
    while chunk := stream.read1(CHUNK_BYTES):
        yield chunk


def _shown(chunks: Iterator[bytes], bar: LinesAboveBar) -> Iterator[bytes]:
    sent_bytes = 0
    for chunk in chunks:
        yield chunk
        sent_bytes += len(chunk)
        bar.advance(sent_bytes)
