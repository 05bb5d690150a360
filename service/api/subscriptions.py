"""Subscriptions: events of many sessions, delivered to a target of the caller's."""

import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Security
from pydantic import SecretStr
from starlette.responses import Response

from service.access.scopes import Scope
from service.api.authentication import EventsReader, get_caller
from service.api.caller import Caller
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.json_body import JsonRoute
from service.api.subscription_targets import shown_target, stored_target
from service.errors import InvalidRequestError
from service.event_schemas import Cursor
from service.requests import SecretRotation
from service.store.delivery_protocols import SubscriptionLimits
from service.store.subscription_records import (
    MAX_SUBSCRIPTIONS,
    DeliveryProgress,
    StoredFilter,
    StoredSubscription,
    StoredWebhookTarget,
    SubscriptionAttempt,
    SubscriptionRecord,
)
from service.subscription_schemas import (
    DeliveryAttemptInfo,
    SubscriptionFilter,
    SubscriptionInfo,
    SubscriptionList,
    SubscriptionRequest,
    SubscriptionResume,
    SubscriptionTestResult,
)
from service.subscriptions.target import DeliveryFailedError, Trial
from service.webhooks.signature import new_webhook_secret

router = APIRouter(route_class=JsonRoute, tags=["subscriptions"], responses=problem_responses(*AUTH_STATUSES))
# A subscription reads events and makes the server send them, like the webhook of a session.
SubscriptionsWriter = Annotated[
    Caller, Security(get_caller, scopes=[Scope.EVENTS_READ.value, Scope.SESSIONS_WRITE.value])
]
SubscriptionId = Annotated[str, Path(description="Id of the subscription.", max_length=100)]


@router.post(
    "/v1/subscriptions",
    summary="Deliver the events of many sessions to a target",
    description="Delivers events of the caller's sessions, including future ones; with the scope `admin`, of all "
    "sessions. They are delivered in order and at least once. The response contains the target's secret, which is not "
    "shown again.",
    status_code=201,
    responses=problem_responses(403, 422, 429, 503, 507),
)
async def create_subscription(
    context: SharedContext, caller: SubscriptionsWriter, response: Response, asked: SubscriptionRequest
) -> SubscriptionInfo:
    record = SubscriptionRecord(
        id=str(uuid.uuid4()),
        name=asked.name,
        key_id=None if caller.key is None else caller.key.id,
        owner=caller.owner,
        metadata=None if caller.key is None else caller.key.metadata,
        created_at=datetime.now(UTC),
        filter=_stored_filter(asked),
        cooldown_s=asked.cooldown_s,
        target=await stored_target(asked.target, context.settings.address_policy, context.targets.notifier),
    )
    end = await context.store.log.end()
    if asked.after is not None and int(asked.after) > int(end):
        raise InvalidRequestError(f"`after` is beyond the newest event, whose cursor is {end}. Omit it for new events.")
    cursor = asked.after or end
    limits = SubscriptionLimits(context.settings.max_subscriptions, MAX_SUBSCRIPTIONS)
    await context.store.subscriptions.create(record, cursor=cursor, limits=limits)
    context.audit.record("subscription.create", caller.actor, subscription=record.id, name=record.name)
    response.headers["Location"] = f"{context.settings.root_path}/v1/subscriptions/{record.id}"
    response.headers["Cache-Control"] = "no-store"
    created = StoredSubscription(record, "active", 0, DeliveryProgress(cursor=cursor))
    return _shown(created, with_secret=True)


@router.get("/v1/subscriptions", summary="List the caller's subscriptions", responses=problem_responses(503))
async def list_subscriptions(context: SharedContext, caller: EventsReader) -> SubscriptionList:
    """All subscriptions with the scope `admin`."""
    found = await context.store.subscriptions.all(key_id=caller.owner)
    return SubscriptionList(subscriptions=[_shown(each) for each in found])


@router.get(
    "/v1/subscriptions/{subscription_id}",
    summary="Get a subscription and the progress of its delivery",
    responses=problem_responses(404, 422, 503),
)
async def get_subscription(
    context: SharedContext, caller: EventsReader, subscription_id: SubscriptionId
) -> SubscriptionInfo:
    return _shown(await _own(context, caller, subscription_id))


@router.delete(
    "/v1/subscriptions/{subscription_id}",
    summary="Delete a subscription",
    status_code=204,
    responses=problem_responses(404, 422, 503),
)
async def delete_subscription(
    context: SharedContext, caller: SubscriptionsWriter, subscription_id: SubscriptionId
) -> None:
    """A delivery that is under way may still arrive."""
    await _own(context, caller, subscription_id)
    await context.store.subscriptions.delete(subscription_id)
    context.audit.record("subscription.delete", caller.actor, subscription=subscription_id)


@router.post(
    "/v1/subscriptions/{subscription_id}/pause",
    summary="Pause a subscription",
    responses=problem_responses(404, 422, 503),
)
async def pause_subscription(
    context: SharedContext, caller: SubscriptionsWriter, subscription_id: SubscriptionId
) -> SubscriptionInfo:
    """Delivery ends within a second. What was delivered last may arrive again after the resumption."""
    await _own(context, caller, subscription_id)
    await context.store.subscriptions.change(subscription_id, "paused")
    context.audit.record("subscription.pause", caller.actor, subscription=subscription_id)
    return _shown(await _own(context, caller, subscription_id))


@router.post(
    "/v1/subscriptions/{subscription_id}/resume",
    summary="Resume a subscription that is paused or disabled, or retry immediately",
    responses=problem_responses(404, 422, 503),
)
async def resume_subscription(
    context: SharedContext, caller: SubscriptionsWriter, subscription_id: SubscriptionId, asked: SubscriptionResume
) -> SubscriptionInfo:
    before = (await _own(context, caller, subscription_id)).progress
    cursor: Cursor = await context.store.log.end() if asked.skip_missed else before.cursor
    fresh = {"cursor": cursor, "failed_attempts": 0, "failing_since": None, "next_attempt_at": None}
    await context.store.subscriptions.change(subscription_id, "active", progress=before.model_copy(update=fresh))
    context.audit.record("subscription.resume", caller.actor, subscription=subscription_id)
    return _shown(await _own(context, caller, subscription_id))


@router.post(
    "/v1/subscriptions/{subscription_id}/test",
    summary="Send a test message to the target of a subscription",
    description="The message has the type `subscription.test`. It is sent immediately, in any state, and not repeated.",
    responses=problem_responses(404, 422, 503),
)
async def test_subscription(
    context: SharedContext, caller: SubscriptionsWriter, subscription_id: SubscriptionId
) -> SubscriptionTestResult:
    record = (await _own(context, caller, subscription_id)).record
    context.audit.record("subscription.test", caller.actor, subscription=subscription_id)
    trial = Trial(id=f"test_{uuid.uuid4()}", subscription_id=record.id, time=datetime.now(UTC))
    began_s = time.monotonic()
    failure: str | None = None
    try:
        await context.targets.test(record, trial)
    except DeliveryFailedError as error:
        failure = error.reason
    duration_s = round(time.monotonic() - began_s, 3)
    return SubscriptionTestResult(delivered=failure is None, failure=failure, duration_s=duration_s)


@router.post(
    "/v1/subscriptions/{subscription_id}/rotate-secret",
    summary="Replace the secret of a subscription's webhook",
    description="Returns the new secret, which is not shown again. For a time, deliveries carry two signatures, so "
    "that the receiver can change its secret.",
    responses=problem_responses(404, 422, 503),
)
async def rotate_subscription_secret(
    context: SharedContext,
    caller: SubscriptionsWriter,
    response: Response,
    subscription_id: SubscriptionId,
    rotation: SecretRotation,
) -> SubscriptionInfo:
    secret = SecretStr(rotation.secret or new_webhook_secret())
    old_until = datetime.now(UTC) + timedelta(seconds=rotation.keep_old_s)
    is_replaced = False
    while not is_replaced:
        stored = await _own(context, caller, subscription_id)
        if not isinstance(stored.record.target, StoredWebhookTarget):
            raise InvalidRequestError("Only subscriptions to a webhook have a secret to rotate.")
        target = stored.record.target.with_secret(secret, old_until=old_until)
        rotated = stored.record.model_copy(update={"target": target})
        is_replaced = await context.store.subscriptions.replace(rotated, revision=stored.revision)
    context.audit.record("subscription.rotate_secret", caller.actor, subscription=subscription_id)
    response.headers["Cache-Control"] = "no-store"
    return _shown(await _own(context, caller, subscription_id), with_secret=True)


def _stored_filter(asked: SubscriptionRequest) -> StoredFilter:
    """People read starts, unless they ask for other events; programs get all."""
    chosen = StoredFilter.model_validate(asked.filter.model_dump())
    if asked.target.kind == "apprise" and not chosen.type:
        return chosen.model_copy(update={"type": ("action.start",)})
    return chosen


async def _own(context: Context, caller: Caller, subscription_id: str) -> StoredSubscription:
    """Raises NotFoundError."""
    return await context.store.subscriptions.get(subscription_id, key_id=caller.owner)


def _shown(stored: StoredSubscription, *, with_secret: bool = False) -> SubscriptionInfo:
    record, progress = stored.record, stored.progress
    is_retrying = stored.state == "active" and progress.failing_since is not None
    return SubscriptionInfo(
        id=record.id,
        name=record.name,
        created_at=record.created_at,
        all_sessions=record.owner is None,
        filter=SubscriptionFilter.model_validate(record.filter.model_dump()),
        cooldown_s=record.cooldown_s,
        target=shown_target(record.target, with_secret=with_secret),
        state="retrying" if is_retrying else stored.state,
        cursor=progress.cursor,
        delivered=progress.delivered,
        failed_attempts=progress.failed_attempts,
        failing_since=progress.failing_since,
        next_attempt_at=progress.next_attempt_at if is_retrying else None,
        last_error=_last_error(progress.attempts),
        attempts=[
            DeliveryAttemptInfo(
                session_id=each.session_id,
                event_id=each.event_id,
                time=each.at,
                delivered=each.failure is None,
                failure=each.failure,
            )
            for each in progress.attempts
        ],
    )


def _last_error(attempts: Iterable[SubscriptionAttempt]) -> str | None:
    return next((each.failure for each in attempts if each.failure is not None), None)
