"""The query parameters that filter events, the same for every page and stream of events."""

import re
from typing import Annotated

from fastapi import Depends, Query
from pydantic import AwareDatetime, BeforeValidator, StringConstraints
from starlette.requests import HTTPConnection

from service.errors import InvalidRequestError
from service.event_filter import EventFilter
from service.event_schemas import EventType
from service.problems import FieldError

METADATA, METADATA_KEY = "metadata.", "metadata.KEY"
MAX_LENGTH = 200
"""Longest value, so that several fit into the head of a request."""
Values = tuple[Annotated[str, StringConstraints(max_length=MAX_LENGTH)], ...]


def _written_out(text: object) -> object:
    """A number would be taken for seconds since 1970."""
    if isinstance(text, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", text):
        raise ValueError("must be a date and time with its offset, such as 2026-11-29T09:00:00Z")
    return text


Time = Annotated[AwareDatetime, BeforeValidator(_written_out)]


async def get_event_filter(
    connection: HTTPConnection,
    label: Annotated[Values, Query(description="Only events of this action. Repeat for several.")] = (),
    type_: Annotated[
        tuple[EventType, ...], Query(alias="type", description="Only events of this type. Repeat for several.")
    ] = (),
    session: Annotated[Values, Query(description="Only events of this session. Repeat for several.")] = (),
    name: Annotated[Values, Query(description="Only events of sessions with this name. Repeat for several.")] = (),
    region: Annotated[Values, Query(description="Only events of this region. Repeat for several.")] = (),
    _metadata: Annotated[
        Values,
        Query(
            alias=METADATA_KEY,
            description="Only events of sessions whose metadata has this value. Replace KEY by the key, as in"
            " `metadata.site=north`. Repeat for several values or keys.",
        ),
    ] = (),
    since: Annotated[Time | None, Query(description="Only events that were decided at this time or later.")] = None,
    until: Annotated[Time | None, Query(description="Only events that were decided before this time.")] = None,
    min_score: Annotated[
        float | None,
        Query(ge=0, le=1, allow_inf_nan=False, description="Only starts and ends with at least this score."),
    ] = None,
) -> EventFilter:
    """Raises InvalidRequestError."""
    return EventFilter(
        labels=frozenset(label),
        types=frozenset(type_),
        sessions=frozenset(session),
        names=frozenset(name),
        regions=frozenset(region),
        metadata=metadata_values(connection),
        since=since,
        until=until,
        min_score=min_score,
    )


WantedEvents = Annotated[EventFilter, Depends(get_event_filter)]


def metadata_values(connection: HTTPConnection) -> dict[str, frozenset[str]]:
    """The values by key: the framework cannot read parameters whose names the client chooses."""
    asked = {name for name in connection.query_params if name.startswith(METADATA)}
    found = {name: frozenset(connection.query_params.getlist(name)) for name in asked}
    errors = [
        FieldError(field=name[:100], message=f"has a value of more than {MAX_LENGTH} characters")
        for name, values in found.items()
        if any(len(value) > MAX_LENGTH for value in values)
    ]
    if errors:
        raise InvalidRequestError(
            "A value of metadata is too long to filter by. Shorten it, or filter by another key.", errors=errors
        )
    return {name.removeprefix(METADATA): values for name, values in found.items()}
