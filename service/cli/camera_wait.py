"""`cake cameras start --wait`: whether the cameras that were started deliver frames."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cake_client import Client, Session

ASK_EVERY_S = 0.5


def wait_for_frames(
    client: Client,
    session_ids: Mapping[str, str],
    within_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Print for each camera when it runs, or why it does not. False if one does not within the time.

    Args:
        session_ids: by the name of the camera.
    """
    deadline_s = clock() + within_s
    waiting = {name: client.session(session_id) for name, session_id in session_ids.items()}
    running = 0
    while waiting:
        for name, session in list(waiting.items()):
            if session.state == "running":
                typer.echo(f"{name}: running{_size(session)}")
                running += 1
            elif session.has_ended:
                typer.echo(f"{name}: {_problem(session)}", err=True)
            else:
                continue
            del waiting[name]
        if not waiting or clock() >= deadline_s:
            break
        sleep(ASK_EVERY_S)
        waiting = {name: client.session(session.id) for name, session in waiting.items()}
    for name, session in waiting.items():
        typer.echo(f"{name}: not running after {within_s:g} s: {_problem(session)}", err=True)
    typer.echo(f"{running} of {len(session_ids)} cameras are running")
    return running == len(session_ids)


def _size(session: Session) -> str:
    return "" if session.video is None else f" at {session.video.width}x{session.video.height}"


def _problem(session: Session) -> str:
    if session.state == "queued" and session.detail is None:
        return "queued: no worker has taken it; they may be full, see `cake sessions` and GET /v1/capabilities"
    return ": ".join(filter(None, (session.state, session.code, session.detail)))
