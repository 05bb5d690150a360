"""Which events a client wants: one predicate for pages, streams and exports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.event_schemas import Event

ANY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class EventFilter:
    """Passes an event that meets every condition; a condition with several values is met by each of them.

    A condition that is not set, or has no values, is met by every event. A condition on a field that an event lacks,
    such as the label of a gap, is not met.
    """

    labels: frozenset[str] = ANY
    types: frozenset[str] = ANY
    sessions: frozenset[str] = ANY
    names: frozenset[str] = ANY
    regions: frozenset[str] = ANY
    metadata: Mapping[str, frozenset[str]] = field(default_factory=dict)
    since: datetime | None = None
    """Earliest `time` of an event."""
    until: datetime | None = None
    """All events are before it."""
    min_score: float | None = None

    def passes(self, event: Event) -> bool:
        """Whether the client wants the event."""
        return (
            _meets(self.types, event.type)
            and self.passes_session(event.session_id, event.name, event.metadata)
            and _meets(self.labels, getattr(event, "label", None))
            and _meets(self.regions, getattr(event, "region", None))
            and (self.since is None or event.time >= self.since)
            and (self.until is None or event.time < self.until)
            and (self.min_score is None or getattr(event, "score", -1.0) >= self.min_score)
        )

    def passes_session(self, session_id: str, name: str | None, metadata: Mapping[str, str]) -> bool:
        """Whether the client may want events of this session."""
        return (
            _meets(self.sessions, session_id)
            and _meets(self.names, name)
            and all(_meets(values, metadata.get(key)) for key, values in self.metadata.items())
        )


EVERYTHING = EventFilter()


def _meets(values: frozenset[str], value: str | None) -> bool:
    return not values or value in values
