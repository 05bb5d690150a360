"""Exports the events of a session as a file."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from service.api.authentication import EventsReader
from service.api.context import SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.event_formats import actions_of, activitynet, csv_header, csv_rows, json_lines, webvtt
from service.api.event_parameters import WantedEvents
from service.api.sessions import SessionId
from service.event_filter import EventFilter
from service.event_schemas import Event
from service.store.protocols import EventLog
from service.store.records import SessionRecord

PAGE = 500
Format = Literal["csv", "jsonl", "activitynet", "webvtt"]
_FILES: dict[Format, tuple[str, str, str]] = {
    "csv": ("text/csv", "csv", "string"),
    "jsonl": ("application/jsonl", "jsonl", "string"),
    "activitynet": ("application/json", "json", "object"),
    "webvtt": ("text/vtt", "vtt", "string"),
}
"""Media type, suffix of the file's name, and type in the OpenAPI description."""
router = APIRouter(tags=["events"], responses=problem_responses(*AUTH_STATUSES))


@router.get(
    "/v1/sessions/{session_id}/export",
    summary="Export the events of a session as CSV, JSON lines, ActivityNet annotations or WebVTT",
    description="CSV and JSON lines contain all events, ActivityNet annotations and WebVTT only actions. An action "
    "that has not ended lasts until the newest frame. Accepts the filters of all pages of events.",
    response_class=StreamingResponse,
    responses={
        200: {"content": {media_type: {"schema": {"type": kind}} for media_type, _, kind in _FILES.values()}},
        **problem_responses(404, 422, 503),
    },
)
async def export_events(
    context: SharedContext,
    caller: EventsReader,
    session_id: SessionId,
    wanted: WantedEvents,
    file_format: Annotated[Format, Query(alias="format", description="Format of the file.")],
) -> StreamingResponse:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record("session.export", caller.actor, session=session_id)
    media_type, suffix, _ = _FILES[file_format]
    # The id is that of an existing session, so it needs no quoting.
    headers = {"Content-Disposition": f'attachment; filename="{record.id}.{suffix}"'}
    chunks = _chunks(context.store.log, record, wanted, file_format)
    return StreamingResponse(chunks, media_type=media_type, headers=headers)


async def _chunks(log: EventLog, record: SessionRecord, wanted: EventFilter, file_format: Format) -> AsyncIterator[str]:
    async with aclosing(_pages(log, record.id, wanted)) as pages:
        match file_format:
            case "csv":
                yield csv_header()
                async for events in pages:
                    yield csv_rows(events)
            case "jsonl":
                async for events in pages:
                    yield json_lines(events)
            case "activitynet" | "webvtt":
                # A cue comes before those that start later, however long it lasts: this needs all of them.
                found = actions_of([event async for events in pages for event in events], until_s=record.position_s)
                yield webvtt(found) if file_format == "webvtt" else activitynet(record, found)


async def _pages(log: EventLog, session_id: str, wanted: EventFilter) -> AsyncGenerator[list[Event], None]:
    after: str | None = None
    while events := await log.read_events(session_id, after=after, limit=PAGE):
        after = events[-1].id
        yield [event for event in events if wanted.passes(event)]
