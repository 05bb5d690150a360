"""`cake data`: training data from feedback on events."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from service.cli.client import LOCAL, Server, connected_client
from service.cli.terminal import FAILED, fail, print_warning

NO_VALIDATION = (
    "no clip is for validation, which cake train needs: each label needs examples in two clips; judge more events, if "
    "possible of several sessions"
)
data_app = typer.Typer(no_args_is_help=True, help="Turn judged events into training data.")


@data_app.callback()
def data() -> None:
    """Turn judged events into training data."""


@data_app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder for videos/ and annotations.json.")],
    sessions: Annotated[
        str | None,
        typer.Option(metavar="ID,ID", help="Sessions, separated by commas. Default: all.", show_default=False),
    ] = None,
    server: Server = LOCAL,
) -> None:
    """Write clips of judged events and of missed actions, labelled for `cake train --data`.

    Right and missed actions are labelled, wrong ones are background. Exit status 1: no event has been judged, or
    the server rejected a request.
    """
    from service.offline.training_data import export_training_data

    with connected_client(server) as client:
        ids = [each.id for each in client.sessions()] if sessions is None else re.findall(r"[^,\s]+", sessions)
        try:
            exported = export_training_data(client, ids, out, lambda name: typer.echo(name))
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}", FAILED)
    for name, reason in exported.skipped.items():
        print_warning(f"{name}: {reason}")
    if exported.clips == 0:
        fail("no judged event has a clip; judge events on the page, or with the API", FAILED)
    if not exported.has_validation:
        print_warning(NO_VALIDATION)
    count = exported.missed_without_clip
    without = f"; {count} missed {'action has' if count == 1 else 'actions have'} no clip" if count else ""
    typer.echo(f"wrote {exported.clips} {'clip' if exported.clips == 1 else 'clips'} to {out}{without}", err=True)
