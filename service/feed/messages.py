"""Events as they are sent to clients that follow one session or all of them."""

from dataclasses import dataclass

from service.event_filter import EVERYTHING, EventFilter
from service.event_schemas import EVENT, Event, LogEntry
from service.schemas import ENDED_STATES
from service.store.records import LoggedEvent


@dataclass(frozen=True)
class Message:
    """One event as sent to a client. The client resumes with `position`; a client's messages increase in `order`."""

    position: str
    order: tuple[int, ...]
    text: str
    last: bool
    event: Event
    is_hidden: bool = False
    """The client does not want it; it may still be the last one."""


def position_order(position: str) -> tuple[int, ...]:
    """Parse an event id, or a cursor of the common log, into comparable numbers."""
    return tuple(int(number) for number in position.split("-"))


def session_message(event: Event, wanted: EventFilter = EVERYTHING) -> Message:
    """The message for clients that follow one session."""
    last = event.type == "session.state" and event.state in ENDED_STATES
    if not wanted.passes(event):
        return Message(event.id, position_order(event.id), "", last, event, is_hidden=True)
    return Message(event.id, position_order(event.id), EVENT.dump_json(event).decode(), last, event)


def log_message(logged: LoggedEvent, wanted: EventFilter = EVERYTHING) -> Message:
    """The message for clients that follow all sessions."""
    order = position_order(logged.cursor)
    if not wanted.passes(logged.event):
        return Message(logged.cursor, order, "", False, logged.event, is_hidden=True)
    text = LogEntry(cursor=logged.cursor, event=logged.event).model_dump_json()
    return Message(logged.cursor, order, text, False, logged.event)
