"""Reads pages of the events that a client wants from the store's logs."""

from datetime import timedelta

from service.access.sight import Sight
from service.errors import InvalidRequestError
from service.event_filter import EVERYTHING, EventFilter
from service.event_schemas import Event, EventLogPage, EventPage, LogEntry
from service.store.protocols import EventLog

PAGE = 500
MAX_PAGES_READ = 10
"""Largest number of pages of the common log that one request searches; the next request continues there."""
MAX_COMMIT_DELAY = timedelta(hours=1)
"""Events are committed in nearly the order of their times: during an outage of the store, workers buffer minutes."""


async def session_page(
    log: EventLog, session_id: str, wanted: EventFilter, *, after: str | None, limit: int
) -> EventPage:
    """The first `limit` wanted events after an id; `next` is the last event that was examined."""
    found: list[Event] = []
    read_at_once = limit if wanted == EVERYTHING else PAGE
    while True:
        events = await log.read_events(session_id, after=after, limit=read_at_once)
        for event in events:
            after = event.id
            if wanted.passes(event):
                found.append(event)
                if len(found) == limit:
                    return EventPage(events=found, next=after)
        if len(events) < read_at_once:
            return EventPage(events=found, next=after)


async def log_page(
    log: EventLog, wanted: EventFilter, *, after: str | None, before: str | None, limit: int, sight: Sight
) -> EventLogPage:
    """Wanted events of all sessions that `sight` shows: after a cursor, or else the newest first.

    Raises InvalidRequestError.
    """
    if after is not None and before is not None:
        raise InvalidRequestError("Send `after` or `before`, not both.")
    end = await log.end()
    # Events that are committed from now on come after `end`: a client that follows from there gets none twice.
    cursor = after or before or str(int(end) + 1)
    found: list[LogEntry] = []
    for _ in range(MAX_PAGES_READ):
        if after is None:
            page = await log.read_back(before=cursor, limit=PAGE, sight=sight)
        else:
            page = await log.read(after=cursor, limit=PAGE, sight=sight)
        for entry in page.entries:
            is_beyond = int(entry.cursor) > int(end) if after is not None else _is_too_old(entry.event, wanted)
            if is_beyond:
                return EventLogPage(entries=found, next=None, end=end)
            if wanted.passes(entry.event):
                found.append(LogEntry(cursor=entry.cursor, event=entry.event))
                if len(found) == limit:
                    return EventLogPage(entries=found, next=entry.cursor, end=end)
        cursor = page.cursor
        if len(page.entries) < PAGE:
            return EventLogPage(entries=found, next=None, end=end)
    return EventLogPage(entries=found, next=cursor, end=end)


def _is_too_old(event: Event, wanted: EventFilter) -> bool:
    """Whether no earlier event of the log can be wanted."""
    return wanted.since is not None and event.time + MAX_COMMIT_DELAY < wanted.since
