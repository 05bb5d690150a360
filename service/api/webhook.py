"""The webhook of a session: progress of delivery, redelivery, and rotation of the secret."""

import time
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import Field, SecretStr

from service.access.sight import Sight
from service.api.authentication import SessionsReader, SessionsWriter
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.json_body import JsonRoute
from service.api.sessions import SessionId
from service.errors import NotFoundError
from service.event_schemas import EventId
from service.requests import Redelivery, SecretRotation
from service.schemas import Schema, WebhookInfo
from service.sources.sources import redact
from service.store.webhook_records import WebhookProgress
from service.webhooks.signature import new_webhook_secret

router = APIRouter(route_class=JsonRoute, tags=["webhooks"], responses=problem_responses(*AUTH_STATUSES))


class WebhookAttempt(Schema):
    """One attempt to deliver an event to a webhook."""

    event_id: EventId = Field(description="The event.")
    time: datetime = Field(description="When the attempt ended, UTC.")
    delivered: bool = Field(description="Whether the receiver accepted the event.")
    failure: str | None = Field(
        description="HTTP status or error of a failed attempt; null if the event was delivered.",
        examples=["503", "ConnectError: certificate verify failed"],
    )


class WebhookStatus(Schema):
    """Progress of the delivery of a session's events."""

    url: str = Field(description="The address; without user, password and query.")
    state: Literal["active", "retrying", "disabled", "finished"] = Field(
        description="`retrying`: the last attempt failed, and another one will follow. `disabled`: the receiver failed "
        "for 24 hours or answered 410, or the API key was revoked; redeliver to enable it again. `finished`: the "
        "session's last event was delivered."
    )
    delivered: EventId | None = Field(description="The last event that the receiver accepted.")
    failed_attempts: int = Field(description="Failed attempts since then.")
    failing_since: datetime | None = Field(description="When the first of them ended, UTC.")
    next_attempt_at: datetime | None = Field(description="When the next attempt is due, UTC; only while `retrying`.")
    attempts: list[WebhookAttempt] = Field(description="The newest 50 attempts, newest first.")


@router.get(
    "/v1/sessions/{session_id}/webhook",
    summary="Get the deliveries of a session's webhook",
    responses=problem_responses(404, 422, 503),
)
async def get_webhook(context: SharedContext, caller: SessionsReader, session_id: SessionId) -> WebhookStatus:
    progress = await _progress(context, session_id, caller.sight)
    context.audit.record_view(caller.actor, session=session_id, what="webhook")
    return _status(progress)


@router.post(
    "/v1/sessions/{session_id}/webhook/redeliver",
    summary="Deliver events to a session's webhook again",
    description="Delivery starts again after the event `after`, in order, even if the receiver was disabled. Receivers "
    "recognize repeated events by the header `webhook-id`.",
    status_code=202,
    responses=problem_responses(404, 422, 503),
)
async def redeliver_webhook(
    context: SharedContext, caller: SessionsWriter, session_id: SessionId, redelivery: Redelivery
) -> WebhookStatus:
    await _progress(context, session_id, caller.sight)
    await context.store.outbox.redeliver(session_id, after=redelivery.after)
    context.audit.record("webhook.redeliver", caller.actor, session=session_id)
    return _status(await _progress(context, session_id, caller.sight))


@router.post(
    "/v1/sessions/{session_id}/webhook/rotate-secret",
    summary="Replace the secret of a session's webhook",
    description="Returns the new secret, which is not shown again. For a time, deliveries carry two signatures, so "
    "that the receiver can change its secret.",
    responses=problem_responses(404, 422, 503),
)
async def rotate_webhook_secret(
    context: SharedContext, caller: SessionsWriter, session_id: SessionId, rotation: SecretRotation
) -> WebhookInfo:
    progress = await _progress(context, session_id, caller.sight)
    secret = rotation.secret or new_webhook_secret()
    await context.store.outbox.rotate_secret(
        session_id, SecretStr(secret), old_until_unix_s=time.time() + rotation.keep_old_s
    )
    context.audit.record("webhook.rotate_secret", caller.actor, session=session_id)
    return WebhookInfo(url=redact(progress.webhook.url.get_secret_value()), secret=secret)


async def _progress(context: Context, session_id: str, sight: Sight) -> WebhookProgress:
    record = await context.store.sessions.get(session_id, sight=sight)
    progress = await context.store.outbox.progress(record.id)
    if progress is None:
        raise NotFoundError("The session has no webhook. Submit a session with `webhook` to have its events posted.")
    return progress


def _status(progress: WebhookProgress) -> WebhookStatus:
    webhook = progress.webhook
    return WebhookStatus(
        url=redact(webhook.url.get_secret_value()),
        state=progress.state,
        delivered=webhook.delivered,
        failed_attempts=webhook.attempts,
        failing_since=_moment(webhook.failing_since_unix_s),
        next_attempt_at=_moment(progress.next_attempt_unix_s),
        attempts=[
            WebhookAttempt(
                event_id=attempt.event_id,
                time=datetime.fromtimestamp(attempt.at_unix_s, UTC),
                delivered=attempt.failure is None,
                failure=attempt.failure,
            )
            for attempt in progress.attempts
        ],
    )


def _moment(unix_s: float | None) -> datetime | None:
    return None if unix_s is None else datetime.fromtimestamp(unix_s, UTC)
