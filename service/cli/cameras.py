"""`cake cameras`: start and stop the cameras of a list with one command, as often as you like."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from service.cli.client import LOCAL, Server, connected_client
from service.cli.refusals import refusal
from service.cli.terminal import FAILED, MISUSED, fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cake_client import Client, Session

LIVE_STATES = ("queued", "starting", "running", "reconnecting")
NOT_METADATA = ("name", "url", "labels", "model")
# Spreadsheets use semicolons where the comma is the decimal mark; what is copied from them has tabs.
DELIMITERS = ",;\t"

cameras_app = typer.Typer(no_args_is_help=True, help="Find cameras, and start or stop the cameras of a list.")
CameraList = Annotated[
    Path,
    typer.Argument(
        metavar="LIST.csv",
        help="CSV file with the columns name and url; optional: labels (separated by spaces, commas or semicolons) and "
        "model. Other columns become metadata, which every event carries.",
    ),
]


class CameraListError(ValueError):
    """The file is not a list of cameras; the message names file and line."""


@dataclass(frozen=True)
class ListedCamera:
    """A line of the list."""

    name: str
    url: str
    labels: tuple[str, ...]
    model: str | None
    metadata: dict[str, str]

    def is_shown_by(self, session: Session) -> bool:
        """Whether the session has this camera's source. Servers do not return users, passwords and queries."""
        shown, own = urlsplit(session.source.url or ""), urlsplit(self.url)
        return (shown.scheme, shown.hostname, shown.port, shown.path) == (own.scheme, own.hostname, own.port, own.path)


@cameras_app.command()
def start(
    cameras: CameraList,
    server: Server = LOCAL,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until each camera delivers frames, and say why not.")
    ] = False,
    within_s: Annotated[float, typer.Option(min=0, help="Longest time to wait, with --wait.")] = 60.0,
) -> None:
    """Start each camera that has no live session with its name. A camera whose address has changed is restarted.

    Repeat the command after changing the list, or every few minutes: cameras that are already running are left alone.
    Exit status 1: the server rejected a camera; the others were started. With --wait also: a camera does not deliver
    frames in time.
    """
    from service.cli.camera_wait import wait_for_frames

    listed = _read(cameras)
    with connected_client(server) as client:
        live = _live_sessions(client)
        started = {camera.name: _started(client, camera, live.get(camera.name, [])) for camera in listed}
        accepted = {name: session_id for name, session_id in started.items() if session_id is not None}
        is_complete = len(accepted) == len(started)
        if wait:
            is_complete = wait_for_frames(client, accepted, within_s) and is_complete
    if not is_complete:
        raise typer.Exit(FAILED)


@cameras_app.command()
def stop(cameras: CameraList, server: Server = LOCAL) -> None:
    """Stop the live sessions that have the name of a camera in the list, and say which cameras have none."""
    listed = _read(cameras)
    with connected_client(server) as client:
        live = _live_sessions(client)
        for camera in listed:
            running = live.get(camera.name, [])
            if not running:
                typer.echo(f"{camera.name}: not running")
            for session in running:
                client.stop(session.id)
                typer.echo(f"{camera.name}: stopped {session.id}")


def read_cameras(path: Path) -> list[ListedCamera]:
    """The cameras of a CSV file in its order.

    Raises:
        CameraListError: the file is no such list, it has no cameras, or two have one name.
        OSError: it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first_line = file.readline()
            file.seek(0)
            delimiter = next((delimiter for delimiter in DELIMITERS if delimiter in first_line), ",")
            reader = csv.DictReader(file, strict=True, skipinitialspace=True, delimiter=delimiter)
            reader.fieldnames = _columns(path, reader.fieldnames or ())
            # Spreadsheets keep the rows that were emptied.
            rows = (row for row in reader if any(row.values()))
            cameras = [_camera(f"{path}: line {reader.line_num}", row) for row in rows]
    except UnicodeDecodeError as error:
        raise CameraListError(f"{path}: the text is not in UTF-8; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise CameraListError(f"{path}: expected a CSV file ({error})") from error
    if not cameras:
        raise CameraListError(f"no cameras in {path}")
    seen: set[str] = set()
    for camera in cameras:
        if camera.name in seen:
            raise CameraListError(f"{path}: two cameras are named {camera.name!r}; give each its own name")
        seen.add(camera.name)
    return cameras


def _columns(path: Path, titles: Sequence[str]) -> list[str]:
    """The names of the columns. Those that are not metadata may be written in any case."""
    stripped = [title.strip() for title in titles]
    columns = [title.lower() if title.lower() in NOT_METADATA else title for title in stripped]
    missing = [name for name in ("name", "url") if name not in columns]
    if missing:
        expected = "expected a first line such as name,url,labels"
        raise CameraListError(f"{path}: {expected}; it lacks {' and '.join(missing)}")
    for name in NOT_METADATA:
        if columns.count(name) > 1:
            raise CameraListError(f"{path}: two columns are named {name}")
    return columns


def _camera(where: str, row: dict[str | None, str | list[str] | None]) -> ListedCamera:
    if None in row:
        raise CameraListError(f"{where}: more values than the first line has columns; quote values with commas")
    values = {str(column): value.strip() for column, value in row.items() if isinstance(value, str)}
    if not values.get("name") or "://" not in values.get("url", ""):
        raise CameraListError(f"{where}: expected a name and a URL such as rtsp://user:password@camera.example/stream")
    metadata = {column: value for column, value in values.items() if value and column not in NOT_METADATA}
    labels = tuple(filter(None, re.split(r"[\s,;]+", values.get("labels", ""))))
    return ListedCamera(values["name"], values["url"], labels, values.get("model") or None, metadata)


def _read(path: Path) -> list[ListedCamera]:
    try:
        return read_cameras(path)
    except CameraListError as error:
        fail(str(error), MISUSED)
    except OSError as error:
        fail(f"{path}: {error.strerror}", MISUSED)


def _live_sessions(client: Client) -> dict[str, list[Session]]:
    """By name."""
    found: dict[str, list[Session]] = {}
    for session in chain.from_iterable(client.sessions(state=state, page_size=200) for state in LIVE_STATES):
        if session.name:
            found.setdefault(session.name, []).append(session)
    return found


def _started(client: Client, camera: ListedCamera, live: list[Session]) -> str | None:
    """Make sure that the camera has a session, and print what was done. Returns its id; None if the server rejected
    it.
    """
    from cake_client import CakeError, SessionOptions, UnreachableError

    running = [session for session in live if camera.is_shown_by(session)]
    if running:
        typer.echo(f"{camera.name}: {running[0].state} {running[0].id}")
        return running[0].id
    options = SessionOptions(
        name=camera.name, labels=camera.labels or None, model=camera.model, metadata=camera.metadata or None
    )
    try:
        started = client.submit_url(camera.url, options)
        for session in live:
            client.stop(session.id)
    except UnreachableError:
        raise
    except CakeError as error:
        typer.echo(f"{camera.name}: {refusal(error)}", err=True)
        return None
    typer.echo(f"{camera.name}: started {started.id}" + (f", stopped {live[0].id}" if live else ""))
    return started.id
