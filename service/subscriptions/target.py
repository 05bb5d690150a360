"""What a subscription delivers, and what its target must do."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.event_schemas import EVENT, Event
from service.schemas import Schema


class DeliveryFailedError(Exception):
    """The target did not accept a message, or cannot be reached.

    `reason` is shown to callers; `wait_s` is the delay that the target requested; `is_final`: it wants no more events.
    """

    def __init__(self, reason: str, *, wait_s: float = 0.0, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s
        self.is_final = is_final


class MessageTooLargeError(DeliveryFailedError):
    """The target does not accept messages of this size."""


class Trial(Schema):
    """What `POST /v1/subscriptions/{id}/test` sends."""

    id: str
    type: str = "subscription.test"
    subscription_id: str
    time: datetime


@dataclass(frozen=True)
class TargetMessage:
    """An event, or a test, as it is sent. `id` is the same for each attempt; `source` is a path of the API."""

    id: str
    type: str
    source: str
    subject: str | None
    time: datetime
    traceparent: str | None
    body: bytes
    """JSON."""


class Target(Protocol):
    """An open target of one subscription."""

    async def deliver(self, event: Event) -> None:
        """Return once the target has accepted the event. Raises DeliveryFailedError."""

    async def lost(self) -> None:
        """Wait for the end of the connection, and raise DeliveryFailedError. Never returns without a connection."""


def event_message(event: Event) -> TargetMessage:
    """The message of an event, as `GET /v1/events` shows the event but without fields that are null."""
    return TargetMessage(
        id=f"{event.session_id}_{event.id}",
        type=event.type,
        source=f"/v1/sessions/{event.session_id}",
        subject=getattr(event, "label", None),
        time=event.time,
        traceparent=event.traceparent,
        body=EVENT.dump_json(event, exclude_none=True),
    )


def trial_message(event: Trial) -> TargetMessage:
    """The message of a test."""
    return TargetMessage(
        id=event.id,
        type=event.type,
        source=f"/v1/subscriptions/{event.subscription_id}",
        subject=None,
        time=event.time,
        traceparent=None,
        body=event.model_dump_json().encode(),
    )
