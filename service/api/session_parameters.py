"""The query parameters that filter the list of sessions; they mean the same as for events."""

from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import HTTPConnection

from service.api.event_parameters import METADATA_KEY, Values, metadata_values
from service.event_filter import EventFilter


async def get_session_filter(
    connection: HTTPConnection,
    name: Annotated[Values, Query(description="Only sessions with this name. Repeat for several.")] = (),
    _metadata: Annotated[
        Values,
        Query(
            alias=METADATA_KEY,
            description="Only sessions whose metadata has this value. Replace KEY by the key, as in"
            " `metadata.site=north`. Repeat for several values or keys.",
        ),
    ] = (),
) -> EventFilter:
    """Raises InvalidRequestError."""
    return EventFilter(names=frozenset(name), metadata=metadata_values(connection))


WantedSessions = Annotated[EventFilter, Depends(get_session_filter)]
