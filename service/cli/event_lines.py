"""Events and sessions of a server as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cake_client import Event, Session


def clock(media_s: float) -> str:
    """Media time as `M:SS.s`."""
    minutes, seconds = divmod(round(media_s, 1), 60)
    return f"{minutes:.0f}:{seconds:04.1f}"


def event_line(event: Event) -> str:
    """Media time, type and details of an event; of an unknown type, the type only."""
    from cake_client import ActionEnd, ActionStart, EventMedia, SessionGap, SessionState

    match event:
        case ActionStart():
            return f"{clock(event.start_s)}  start  {event.label}  {event.score * 100:.0f} %"
        case ActionEnd():
            return f"{clock(event.end_s)}  end    {event.label}  after {event.end_s - event.start_s:.1f} s"
        case SessionState():
            why = "  ".join(filter(None, (event.code, event.detail)))
            return f"{clock(event.decided_s)}  state  {event.state}  {why}".rstrip()
        case SessionGap():
            return f"{clock(event.decided_s)}  gap    {event.gap_s:.1f} s were not analysed"
        case EventMedia():
            clip = f"{clock(event.start_s)}  clip   {event.label}  {event.to_s - event.from_s:.1f} s, {event.event_id}"
            return clip if event.complete else f"{clip}  {event.problem}"
    return f"{clock(event.decided_s)}  {event.type}"


def event_text(event: Event, as_json: bool) -> str:
    """One line: JSON, or words for people."""
    return event.model_dump_json() if as_json else event_line(event)


def session_row(session: Session) -> tuple[str, ...]:
    """Id, state, name or source, model, position, time of submission."""
    name = session.name or session.source.filename or session.source.url or session.source.kind
    state = session.state if session.code is None else f"{session.state}: {session.code}"
    return session.id, state, name, session.model, clock(session.position_s), f"{session.created_at:%Y-%m-%d %H:%M}"
