"""The HTTP API's data types of shadow versions: what they found compared with the serving versions."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.schemas import Schema


class StartCounts(Schema):
    """Starts that both versions found, and those that only one found."""

    both: int = Field(description="Found by both: the same label and region, at most a second apart.")
    only_serving: int = Field(description="Published, but not found by the shadow.")
    only_shadow: int = Field(description="Found by the shadow only.")


class LabelDifference(StartCounts):
    """One label in all sessions that were followed."""

    serving_per_hour: float | None = Field(
        description="Starts that were published per hour of video; null before anything was followed."
    )
    shadow_per_hour: float | None = Field(description="Starts of the shadow per hour of video.")


class SessionDifference(Schema):
    """One session that was followed."""

    session_id: str = Field(description="Id of the session.")
    name: str | None = Field(description="Name of the session.")
    model_version: str = Field(description="The version that serves it.")
    followed_s: float = Field(description="How much of its video the shadow has followed, in seconds.")
    missed_frames: int = Field(description="Frames that the shadow did not see, because the machine was busy.")
    labels: dict[str, StartCounts] = Field(description="By label.")


class DifferingStart(Schema):
    """A start that only one of the two versions found."""

    found_by: Literal["serving", "shadow"] = Field(description="Which version found it.")
    session_id: str = Field(description="Id of the session.")
    event_id: str | None = Field(description="Id of the event, if it was published.")
    label: str = Field(description="The action.")
    region: str | None = Field(description="Region of the frame in which it was found; null for the whole frame.")
    start_s: float = Field(description="Media time of the start, in seconds.")
    score: float = Field(description="Score in [0, 1].")
    time: datetime = Field(description="When it was decided, UTC.")


class ShadowDifference(Schema):
    """What the shadow version of a model finds in live sessions, compared with what is published."""

    model: str = Field(description="Name of the model.")
    version: str = Field(description="The shadow version.")
    serving_version: str = Field(description="The version that new sessions use.")
    followed_s: float = Field(description="How much video the shadow has followed, in seconds.")
    labels: dict[str, LabelDifference] = Field(description="By label, in all sessions.")
    sessions: list[SessionDifference] = Field(description="The sessions that were followed.")
    starts: list[DifferingStart] = Field(
        description="Starts that only one version found, newest first, at most 200 of them."
    )
