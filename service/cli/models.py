"""`cake models list | push | remove | shadow | promote`: the models of a server, which it loads while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.commands.models import AsJson, list_models_command
from service.cli.client import LOCAL, Json, Server, connected_client
from service.cli.tables import print_table
from service.cli.terminal import FAILED, MISUSED, fail

if TYPE_CHECKING:
    from cake_client import ModelDetail, ModelOnWorker, Session, ShadowDifference

POLL_S = 1.0
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model on the server.")]
Wait = Annotated[bool, typer.Option(help="Wait until the workers have loaded it.")]


def print_models(
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
    with connected_client(server) as client:
        found = client.models.all()
    for model in found.models:
        default = ", default" if model.name == found.default else ""
        line = f"{model.name} {model.version} ({model.origin}{default}): {', '.join(model.labels)}"
        typer.echo(model.model_dump_json() if as_json else line)


def push_model(
    name: Name,
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="Checkpoint folder, a tar or zip archive of one, or s3://… in the server's CAKE_MODEL_BUCKET."
        ),
    ],
    server: Server = LOCAL,
    wait: Wait = True,
    as_json: Json = False,
) -> None:
    """Upload a model, or a new version of it, to a server. New sessions use it; running sessions keep their version.

    Requires an API key with the scope admin. Exit status 1: the server refused it, or no worker can load it.
    """
    model = _push(server, name, checkpoint, shadow=False, wait=wait)
    typer.echo(model.model_dump_json() if as_json else f"{name} {model.version}: {_loaded(model.workers)}")
    _require_loaded(model.workers)


def remove_model(
    name: Name,
    server: Server = LOCAL,
    shadow: Annotated[bool, typer.Option("--shadow", help="Delete only the shadow version and what it found.")] = False,
) -> None:
    """Delete an uploaded model from a server, once no session uses it. Requires an API key with the scope admin."""
    with connected_client(server) as client:
        if shadow:
            client.models.remove_shadow(name)
        else:
            client.models.remove(name)


def shadow_model(
    name: Name,
    checkpoint: Annotated[
        str | None, typer.Argument(help="Checkpoint to upload as the shadow. Without it, show what the shadow finds.")
    ] = None,
    server: Server = LOCAL,
    wait: Wait = True,
    as_json: Json = False,
) -> None:
    """Let another version of a model follow live sessions without publishing anything, or show what it finds.

    The upload requires an API key with the scope admin. Exit status 1: the server refused it, or no worker can load it.
    """
    if checkpoint is not None:
        model = _push(server, name, checkpoint, shadow=True, wait=wait)
        assert model.shadow is not None
        line = f"{name} {model.shadow.version}, shadow of {model.version}: {_loaded(model.shadow.workers)}"
        typer.echo(model.model_dump_json() if as_json else line)
        _require_loaded(model.shadow.workers)
        return
    with connected_client(server) as client:
        found = client.models.shadow(name)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        _print_difference(found)


def promote_model(
    name: Name,
    server: Server = LOCAL,
    move_sessions: Annotated[
        bool, typer.Option("--move-sessions", help="Also move running sessions that use other versions of the model.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let new sessions use the shadow version of a model. Requires an API key with the scope admin.

    Exit status 1: the server refused it, or a session could not be moved.
    """
    from cake_client import ApiError

    with connected_client(server) as client:
        model = client.models.promote(name)
        typer.echo(model.model_dump_json() if as_json else f"{name} {model.version}: new sessions use it")
        if not move_sessions:
            return
        others = [session for session in client.sessions() if _runs_on_another(session, model)]
        refused = 0
        for session in others:
            try:
                client.models.move(session.id)
            except ApiError as error:
                refused += 1
                typer.echo(f"cake: {session.name or session.id} keeps its version: {error}", err=True)
    if not as_json:
        typer.echo(f"moved {len(others) - refused} of {len(others)} sessions")
    if refused:
        raise typer.Exit(FAILED)


def _runs_on_another(session: Session, model: ModelDetail) -> bool:
    is_of_model = session.model == model.name and not session.has_ended
    return is_of_model and session.model_version != model.version


def _push(server: str, name: str, checkpoint: str, *, shadow: bool, wait: bool) -> ModelDetail:
    with _readable(checkpoint), connected_client(server) as client:
        model = client.models.push(name, checkpoint, shadow=shadow)
        while wait and any(worker.state == "absent" for worker in _workers(model, shadow=shadow)):
            time.sleep(POLL_S)
            model = client.models.get(name)
    return model


def _workers(model: ModelDetail, *, shadow: bool) -> tuple[ModelOnWorker, ...]:
    if not shadow:
        return model.workers
    # Another request may have promoted or deleted it since.
    return () if model.shadow is None else model.shadow.workers


def _loaded(workers: tuple[ModelOnWorker, ...]) -> str:
    loaded = sum(worker.state == "loaded" for worker in workers)
    return f"loaded by {loaded} of {len(workers)} workers"


def _require_loaded(workers: tuple[ModelOnWorker, ...]) -> None:
    """Report workers that cannot load it; if none can, the command fails."""
    failures = [worker for worker in workers if worker.state == "failed"]
    for worker in failures:
        typer.echo(f"cake: {worker.worker} cannot load it: {worker.detail}", err=True)
    if failures and len(failures) == len(workers):
        raise typer.Exit(FAILED)


def _print_difference(found: ShadowDifference) -> None:
    typer.echo(
        f"{found.model} {found.version}, shadow of {found.serving_version}: sessions followed {len(found.sessions)},"
        f" hours of video {found.followed_s / 3600:.2f}"
    )
    titles = ["label", "both", "only serving", "only shadow", "serving per hour", "shadow per hour"]
    rows = [
        [
            label,
            *map(str, (each.both, each.only_serving, each.only_shadow)),
            *("-" if rate is None else f"{rate:g}" for rate in (each.serving_per_hour, each.shadow_per_hour)),
        ]
        for label, each in found.labels.items()
    ]
    print_table(titles, rows, numbers=titles[1:])


@contextmanager
def _readable(checkpoint: str) -> Iterator[None]:
    """A checkpoint that cannot be read ends the command with one line."""
    try:
        yield
    except OSError as error:
        # Of a folder that is there, the file that it lacks.
        missing = error.filename if Path(checkpoint).is_dir() else None
        fail(f"{missing or checkpoint}: {error.strerror or error}", MISUSED)
