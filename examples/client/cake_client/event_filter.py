"""Which events are wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class EventFilter:
    """Each field accepts any of its values; without values it accepts all."""

    labels: Sequence[str] = ()
    types: Sequence[str] = ()
    sessions: Sequence[str] = ()
    session_names: Sequence[str] = ()
    regions: Sequence[str] = ()
    metadata: Mapping[str, Sequence[str]] = field(default_factory=dict)
    since: datetime | None = None
    """With a time zone. Only events that were decided at this time or later."""
    until: datetime | None = None
    """With a time zone. Only events that were decided before this time."""
    min_score: float | None = None
    """Of starts and ends; events without a score are left out."""

    def to_query(self) -> dict[str, Sequence[str]]:
        """The parameters of a request for events."""
        wanted: dict[str, Sequence[str]] = {
            "label": self.labels,
            "type": self.types,
            "session": self.sessions,
            "name": self.session_names,
            "region": self.regions,
            **{f"metadata.{key}": values for key, values in self.metadata.items()},
            "since": [self.since.isoformat()] if self.since else (),
            "until": [self.until.isoformat()] if self.until else (),
            "min_score": [str(self.min_score)] if self.min_score is not None else (),
        }
        return {name: list(values) for name, values in wanted.items() if values}
