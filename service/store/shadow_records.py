"""What the shadow version of a model found in live sessions, compared with what was published."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Protocol

from pydantic import Field

from service.sources.stored import StoredModel

FoundBy = Literal["serving", "shadow"]


class FollowedSpan(StoredModel):
    """A part of a session that the shadow followed, in media time."""

    kind: Literal["span"] = "span"
    from_s: float
    """End of the shadow's warm-up. Earlier starts do not count, for either version."""
    to_s: float
    missed_frames: int = 0
    """Frames that it did not see, because the machine was busy."""

    @property
    def id(self) -> str:
        """Identifies the span in its session. A span is replaced while it grows."""
        return f"span {round(self.from_s * 1000)}"


class ShadowStart(StoredModel):
    """A start that one of the two versions found within a followed span."""

    kind: Literal["start"] = "start"
    found_by: FoundBy
    label: str
    region: str | None = None
    start_s: float
    score: float
    time: datetime
    event_id: str | None = None
    """Of the published event, if the serving version found it."""

    @property
    def id(self) -> str:
        """The same for the same start, so that adding it again changes nothing."""
        return f"{self.found_by} {self.region or ''} {self.label} {round(self.start_s * 1000)}"


ShadowEntry = Annotated[FollowedSpan | ShadowStart, Field(discriminator="kind")]


@dataclass(frozen=True)
class ShadowOfSession:
    """All that a shadow version left about one session; the starts by `start_s`."""

    session_id: str
    spans: Sequence[FollowedSpan]
    starts: Sequence[ShadowStart]


class Shadows(Protocol):
    """Starts of shadow versions. They are deleted with their session or their version, and are never events."""

    async def add(
        self, key: str, session_id: str, span: FollowedSpan, starts: Sequence[ShadowStart], *, max_kept: int
    ) -> bool:
        """Keep starts, and the span in place of that with the same id; what another version left is dropped.

        Returns False, and keeps no more starts, when there are `max_kept` entries. Raises NotFoundError.
        """

    async def of_version(self, key: str) -> list[ShadowOfSession]:
        """What the version with this key left, by session."""


def by_session(session_id: str, entries: Sequence[FollowedSpan | ShadowStart]) -> ShadowOfSession:
    """The entries of one session, in order."""
    return ShadowOfSession(
        session_id,
        sorted((each for each in entries if isinstance(each, FollowedSpan)), key=lambda each: each.from_s),
        sorted((each for each in entries if isinstance(each, ShadowStart)), key=lambda each: (each.start_s, each.id)),
    )
