"""Events printed as they arrive: of one session below its progress, or of all sessions."""

import asyncio
import sys
from contextlib import suppress

import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from cake_client import AsyncClient, CakeError, Event
from service.background import background_task
from service.cli.event_lines import event_text
from service.cli.progress import LinesAboveBar
from service.cli.terminal import print_warning

POLL_S = 1.0
VIDEO = (BarColumn(), TextColumn("{task.completed:.0f} s of video"), TimeRemainingColumn())


async def print_events(server: AsyncClient, session_id: str, after: str | None, as_json: bool) -> Event | None:
    """Print the events of a session until it has ended; return the last one."""
    last: Event | None = None
    async with server as client:
        await client.events(session_id, limit=1)  # A mistake in the address or the id ends the command at once.
        with LinesAboveBar(*VIDEO, total=None) as bar:
            async with background_task(_show_position(client, session_id, bar)):
                async for last in client.follow(session_id, after=after, on_interruption=_warn):
                    bar.say(event_text(last, as_json))
    return last


async def print_all_events(server: AsyncClient, after: str | None, as_json: bool) -> None:
    """Print new events of all sessions, without end."""
    async with server as client:
        async for entry in client.follow_all(after=after, on_interruption=_warn):
            event = entry.event
            if as_json:
                typer.echo(f'{{"cursor": "{entry.cursor}", "event": {event.model_dump_json()}}}')
            else:
                typer.echo(f"{event.session_id}  {event_text(event, as_json)}")
            sys.stdout.flush()


async def _show_position(client: AsyncClient, session_id: str, bar: LinesAboveBar) -> None:
    """Move the bar. Events are rare, so the position is polled from the session."""
    while bar.is_shown:
        with suppress(CakeError):  # The task that follows the events reports failures.
            session = await client.session(session_id)
            bar.advance(session.position_s, None if session.video is None else session.video.duration_s)
        await asyncio.sleep(POLL_S)


def _warn(error: CakeError) -> None:
    print_warning(f"{error.code}: {error.detail} Reconnecting.")
