"""`cake clip`: save the video around the start of an action."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.client import LOCAL, Server, SessionId, connected_client
from service.cli.terminal import MISUSED, fail

EventId = Annotated[str, typer.Argument(metavar="EVENT", help="Id of an action.start or action.end, as in 12600-0.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Default: EVENT.mp4 in this folder.", show_default=False)
]


def clip(
    session: SessionId,
    event: EventId,
    server: Server = LOCAL,
    out: Out = None,
    before_s: Annotated[
        float | None, typer.Option("--before-s", min=0, help="Seconds before the start.", show_default=False)
    ] = None,
    after_s: Annotated[
        float | None, typer.Option("--after-s", min=0, help="Seconds after the start.", show_default=False)
    ] = None,
) -> None:
    """Save the clip of an action as MP4, and print the name of the file.

    Exit status 1: the server has no clip of the event, or cannot be reached.
    """
    with connected_client(server) as client:
        found = client.clip(session, event, before_s=before_s, after_s=after_s)
    path = out or Path(f"{event}.mp4")
    try:
        path.write_bytes(found.data)
    except OSError as error:
        fail(f"{path}: {error.strerror}", MISUSED)
    typer.echo(path)
