"""`cake models list | push | remove`: the models of a server, which it loads and unloads while it runs."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from model.commands.models import AsJson, list_models_command
from service.cli.client import LOCAL, Json, Server, connected
from service.cli.terminal import FAILED, MISUSED, fail

if TYPE_CHECKING:
    import httpx

REQUIRED, OPTIONAL = ("model.json", "model.safetensors"), ("scores.json", "README.md")
POLL_S = 1.0
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model on the server.")]


def list_models(
    server: Annotated[
        str | None,
        typer.Option(help="List the models of this server; its API key comes from CAKE_KEY.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models that ship with this version, or those of a server."""
    if server is None:
        list_models_command(as_json)
        return
    found = _request(server, "GET", "/v1/models").json()
    for model in found["models"]:
        default = ", default" if model["name"] == found["default"] else ""
        line = f"{model['name']} {model['version']} ({model['origin']}{default}): {', '.join(model['labels'])}"
        typer.echo(json.dumps(model) if as_json else line)


def push_model(
    name: Name,
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder, or a tar or zip archive of one.")],
    server: Server = LOCAL,
    wait: Annotated[bool, typer.Option(help="Wait until the workers have loaded it.")] = True,
    as_json: Json = False,
) -> None:
    """Upload a model, or a new version of it, to a server. New sessions use it; those that run keep their version.

    Requires an API key with the scope admin. Exit status 1: the server refused it, or no worker can load it.
    """
    with _archive(checkpoint) as content:
        model = _request(server, "PUT", _path(name), content).json()
    while wait and any(worker["state"] == "absent" for worker in model["workers"]):
        time.sleep(POLL_S)
        model = _request(server, "GET", _path(name)).json()
    workers = model["workers"]
    loaded = sum(worker["state"] == "loaded" for worker in workers)
    typer.echo(
        json.dumps(model) if as_json else f"{name} {model['version']}: loaded by {loaded} of {len(workers)} workers"
    )
    failures = [worker for worker in workers if worker["state"] == "failed"]
    for worker in failures:
        typer.echo(f"cake: {worker['worker']} cannot load it: {worker['detail']}", err=True)
    if failures and len(failures) == len(workers):
        raise typer.Exit(FAILED)


def remove_model(name: Name, server: Server = LOCAL) -> None:
    """Delete an uploaded model from a server, once no session uses it. Requires an API key with the scope admin."""
    _request(server, "DELETE", _path(name))


@contextmanager
def _archive(checkpoint: Path) -> Iterator[IO[bytes]]:
    """The archive, opened; of a folder, made for the purpose."""
    try:
        with checkpoint.open("rb") if checkpoint.is_file() else tempfile.TemporaryFile() as file:
            if not checkpoint.is_file():
                _pack(checkpoint, file)
            yield file
    except OSError as error:
        # Of a folder that is there, the file that it lacks.
        missing = error.filename if checkpoint.is_dir() else None
        fail(f"{missing or checkpoint}: {error.strerror or error}", MISUSED)


def _pack(folder: Path, file: IO[bytes]) -> None:
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in (*REQUIRED, *(name for name in OPTIONAL if (folder / name).is_file())):
            archive.add(folder / name, name)
    file.seek(0)


def _request(server: str, method: str, path: str, content: IO[bytes] | None = None) -> httpx.Response:
    """Send a request; whatever goes wrong ends the command with one line."""
    import httpx

    from cake_client.errors import UnreachableError, error_of

    key = os.environ.get("CAKE_KEY")
    # The client checks the address, and errors within its context end the command with one line.
    with connected(server):
        try:
            response = httpx.request(
                method,
                f"{server.rstrip('/')}{path}",
                content=content,
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=httpx.Timeout(30, read=300),
            )
        except httpx.HTTPError as error:
            raise UnreachableError(server, str(error)) from error
        if response.is_error:
            raise error_of(response.status_code, response.headers, response.content)
    return response


def _path(name: str) -> str:
    return f"/v1/models/{quote(name, safe='')}"
