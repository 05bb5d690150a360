"""The HTTP API's data types of events. Times are those of `service.schemas`."""

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from service.schemas import FailureCode, Rule, Schema, SessionState

EventId = Annotated[str, Field(pattern=r"^[0-9]{1,15}-[0-9]{1,9}$", examples=["12433-0"])]
Cursor = Annotated[str, Field(pattern=r"^[0-9]{1,18}$", examples=["1024"])]


class Latency(Schema):
    """End-to-end latency of a decision and its parts, in seconds, from the frame's arrival at the decoder."""

    decode: float = Field(description="Decoding and scaling of the frame.")
    queue: float = Field(description="Waiting for a batch slot.")
    infer: float = Field(description="The model call.")
    total: float = Field(description="From the frame's arrival to the decision.")


class EventBase(Schema):
    """What all events of a session have in common."""

    id: EventId = Field(description="`MEDIA_MS-SEQ`; increases within the session when compared as two numbers.")
    session_id: str = Field(description="Id of the session.")
    decided_s: float = Field(description="Media time of the frame at which the event was decided, in seconds.")
    time: datetime = Field(description="When the event was decided, UTC.")
    model: str = Field(description="Name of the model.")
    model_version: str = Field(description="Version of the model, as in `GET /v1/models`.")
    name: str | None = Field(default=None, description="Name of the session.", examples=["gate"])
    metadata: dict[str, str] = Field(default={}, description="Metadata of the session.", examples=[{"site": "north"}])
    rules_hash: str | None = Field(
        default=None,
        description="Fingerprint of the rules in force; null before a worker has started the session.",
        examples=["3f6c1f5ad9b2"],
    )
    traceparent: str | None = Field(
        default=None, description="W3C trace context of the event; null unless tracing is enabled."
    )


class _ActionEvent(EventBase):
    region: str | None = Field(
        default=None, description="Name of the region in which the action was found; null in sessions without regions."
    )


class ActionStartEvent(_ActionEvent):
    """An action started."""

    type: Literal["action.start"] = Field(default="action.start", description="An action started.")
    label: str = Field(description="The action.", examples=["kick"])
    score: float = Field(ge=0, le=1, description="Mean score of the action from `start_s` to `decided_s`.")
    start_s: float = Field(description="Media time at which the action started, in seconds; at most `decided_s`.")
    start_time: datetime | None = Field(
        default=None,
        description="Wall-clock time of `start_s`, UTC, by the arrival of the frames; null unless the source is live.",
    )
    latency_s: Latency


class ActionEndEvent(_ActionEvent):
    """An action ended."""

    type: Literal["action.end"] = Field(default="action.end", description="An action ended.")
    label: str = Field(description="The action.", examples=["kick"])
    score: float = Field(ge=0, le=1, description="Mean score of the action over its whole length.")
    start_s: float = Field(description="Media time at which the action started, in seconds.")
    start_time: datetime | None = Field(
        default=None,
        description="Wall-clock time of `start_s`, UTC, by the arrival of the frames; null unless the source is live.",
    )
    end_s: float = Field(description="Media time at which the action ended, in seconds.")
    latency_s: Latency


class SessionStateEvent(EventBase):
    """The session changed its state."""

    type: Literal["session.state"] = Field(default="session.state", description="The session changed its state.")
    state: SessionState = Field(description="The new state.")
    code: FailureCode | None = Field(default=None, description="Why the session failed or reconnects, else null.")
    detail: str | None = Field(
        default=None, description="What is wrong and what to do; null unless there is a problem."
    )


class SessionGapEvent(EventBase):
    """Part of a live stream was not analysed."""

    type: Literal["session.gap"] = Field(default="session.gap", description="Part of the stream was not analysed.")
    gap_s: float = Field(ge=0, description="Length of the gap in seconds; detection restarts after it.")


class SessionChangedEvent(EventBase):
    """Rules, labels, model version, name or metadata of the session changed."""

    type: Literal["session.changed"] = Field(
        default="session.changed",
        description="Rules, labels, model version, name or metadata of the session have changed.",
    )
    labels: list[str] = Field(description="Actions that are reported from now on.")
    start_rules: dict[str, Rule] = Field(description="Rules in force from now on, by label.")


class EventMediaEvent(EventBase):
    """The clip of an action was stored."""

    type: Literal["event.media"] = Field(default="event.media", description="The clip of an action can be downloaded.")
    event_id: EventId = Field(description="Id of the `action.start` that the clip shows.")
    label: str = Field(description="The action.", examples=["kick"])
    region: str | None = Field(default=None, description="Region of the action; null in sessions without regions.")
    start_s: float = Field(description="Media time at which the action started, in seconds.")
    from_s: float = Field(description="Media time of the first frame of the clip, in seconds.")
    to_s: float = Field(description="Media time at which the clip ends, in seconds.")
    size_bytes: int = Field(description="Size of the clip.")
    complete: bool = Field(description="Whether it covers all of CAKE_CLIP_BEFORE_S and CAKE_CLIP_AFTER_S.")
    problem: str | None = Field(default=None, description="Why it is not complete; null if it is.")


Event = Annotated[
    ActionStartEvent | ActionEndEvent | SessionStateEvent | SessionGapEvent | SessionChangedEvent | EventMediaEvent,
    Field(discriminator="type"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
EventType = Literal["action.start", "action.end", "session.state", "session.gap", "session.changed", "event.media"]


class EventPage(Schema):
    """Events of one session."""

    events: list[Event] = Field(description="Events in the order of their ids.")
    next: EventId | None = Field(description="Pass as `after` to get later events; null while there are no events.")


class LogEntry(Schema):
    """An event of any session and its position in the common log."""

    cursor: str = Field(
        pattern=r"^[0-9]{1,18}$", description="Increases over all sessions; pass as `after` to resume from here."
    )
    event: Event = Field(description="The event.")


class EventLogPage(Schema):
    """Events of all sessions."""

    entries: list[LogEntry] = Field(description="Events of all sessions, each with its cursor.")
    next: Cursor | None = Field(
        description="Pass as `after` or `before`, as in this request, to get the next page, which may be "
        "empty; null on the last page."
    )
    end: Cursor = Field(description="Pass as `after`, to a page or a stream, to get only events committed later.")


def event_key(event_id: str) -> tuple[int, int]:
    """Parse `"MEDIA_MS-SEQ"` into two numbers, which define the order of events. Raises ValueError."""
    if not re.fullmatch("[0-9]{1,15}-[0-9]{1,9}", event_id):
        raise ValueError(f"not an event id: {event_id!r}")
    media_ms, seq = event_id.split("-")
    return int(media_ms), int(seq)


def next_event_id(last: str | None, decided_s: float) -> str:
    """Return the id of an event decided at media time `decided_s`: strictly greater than the session's `last` id."""
    media_ms = max(0, round(decided_s * 1000))
    if last is None or event_key(last)[0] < media_ms:
        return f"{media_ms}-0"
    last_ms, last_seq = event_key(last)
    return f"{last_ms}-{last_seq + 1}"
