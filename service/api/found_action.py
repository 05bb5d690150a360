"""One action of a session by the id of its event."""

from service.errors import NotFoundError
from service.event_schemas import ActionEndEvent, ActionStartEvent, event_key
from service.store.protocols import EventLog

LAST_SEQ = 999_999_999
PAGE = 500
NO_EVENT = "The session has no such event. It may have been deleted because of its age."
NO_ACTION = "This event is not an action. Use the id of an action.start or action.end."


async def found_action(log: EventLog, session_id: str, event_id: str) -> ActionStartEvent | ActionEndEvent:
    """The event with this id. Raises NotFoundError."""
    events = await log.read_events(session_id, after=_id_before(event_id), limit=1)
    if not events or events[0].id != event_id:
        raise NotFoundError(NO_EVENT)
    event = events[0]
    if not isinstance(event, ActionStartEvent | ActionEndEvent):
        raise NotFoundError(NO_ACTION)
    return event


async def found_start(log: EventLog, session_id: str, event_id: str) -> ActionStartEvent:
    """The start with this id, or that of the end with this id. Raises NotFoundError."""
    event = await found_action(log, session_id, event_id)
    if isinstance(event, ActionStartEvent):
        return event
    # It was decided at its start or later.
    after = _id_before(f"{round(event.start_s * 1000)}-0")
    while events := await log.read_events(session_id, after=after, limit=PAGE):
        for earlier in events:
            if earlier.id == event_id:
                raise NotFoundError(NO_EVENT)
            if isinstance(earlier, ActionStartEvent) and _is_start_of(earlier, event):
                return earlier
        after = events[-1].id
    raise NotFoundError(NO_EVENT)


def _is_start_of(start: ActionStartEvent, end: ActionEndEvent) -> bool:
    return (start.label, start.region, start.start_s) == (end.label, end.region, end.start_s)


def _id_before(event_id: str) -> str | None:
    """The greatest id that is smaller; None before the first."""
    media_ms, seq = event_key(event_id)
    if seq > 0:
        return f"{media_ms}-{seq - 1}"
    return f"{media_ms - 1}-{LAST_SEQ}" if media_ms > 0 else None
