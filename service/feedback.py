"""Feedback on a session's actions: whether they were right, and which ones were missed."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.schemas import BodySchema, Schema

Verdict = Literal["right", "wrong", "missed"]
MAX_PER_SESSION = 10_000


class Feedback(Schema):
    """What one person said about one action; it repeats the action, so that it outlives the event."""

    id: str = Field(description="Id of the event that was judged, or of the action that was missed.")
    verdict: Verdict = Field(description="`right` or `wrong` of an event; `missed` of an action without one.")
    label: str = Field(description="The action that was reported, or that was missed.", examples=["kick"])
    region: str | None = Field(description="Name of the region; null in sessions without regions.")
    start_s: float = Field(description="Media time at which the action started, in seconds.")
    end_s: float | None = Field(description="Media time at which the action ended, in seconds; null if unknown.")
    score: float | None = Field(description="Score of the event; null for missed actions.")
    rules_hash: str | None = Field(description="Fingerprint of the rules that decided the event; else null.")
    note: str = Field(description="A remark.")
    created_at: datetime = Field(description="When it was given, UTC.")
    by: str | None = Field(description="Name of the API key; null without authentication.")


class AddedMissedAction(Feedback):
    """A missed action that was just added, and whether it has a clip."""

    clip_problem: str | None = Field(
        description="Why there is no clip of it, for people; null if there is one, or will be in a few seconds."
    )


class SessionFeedback(Schema):
    """All feedback of a session, in media time."""

    feedback: list[Feedback] = Field(description="At most 10,000, ordered by `start_s`.")


class EventVerdict(BodySchema):
    """A person's answer to whether an event was right."""

    verdict: Literal["right", "wrong"] = Field(description="Whether the action happened.")
    note: str = Field(default="", max_length=1000, description="A remark.")


class MissedAction(BodySchema):
    """An action that happened without an event."""

    label: str = Field(min_length=1, max_length=200, description="The action.", examples=["kick"])
    region: str | None = Field(default=None, description="Name of the region, in sessions with regions.")
    start_s: float = Field(ge=0, description="Media time at which the action started, in seconds.")
    end_s: float | None = Field(default=None, ge=0, description="Media time at which it ended, in seconds.")
    note: str = Field(default="", max_length=1000, description="A remark.")
