"""A session with everything that a store keeps for one, next to rows that cannot be read."""

import math
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from service.access.keys import Limits, new_key
from service.access.scopes import Scope
from service.access.sight import Sight
from service.errors import NotFoundError
from service.store.delivery_protocols import SubscriptionLimits
from service.store.model_records import UploadedModel
from service.store.protocols import Store
from service.store.records import ScoreRow, SessionRecord, SessionUpdate, state_event
from service.store.subscription_records import StoredMqttTarget, SubscriptionRecord
from service.store.webhook_records import StoredWebhook
from service.store.worker_records import WorkerInfo
from tests.support.store_kit import CHECKPOINT, MODEL, event_ids, missed_action, record, start

NOW = datetime.now(UTC)
LIMITS = Limits(max_sessions=100, requests_per_s=1.0, max_stored_bytes=100)
_, KEY = new_key("sound", [Scope.ADMIN], LIMITS, created_at=NOW)
TICKET = "0" * 64
FEEDBACK = missed_action("missed-1", start_s=1.0)
UPLOADED = UploadedModel(info=MODEL, size_bytes=1, uploaded_at=NOW)
SUBSCRIPTION = SubscriptionRecord(
    id="sound-subscription",
    key_id=KEY.id,
    created_at=NOW,
    target=StoredMqttTarget(url=SecretStr("mqtt://example.org"), topic="cake"),
)


async def make_sound_session(store: Store) -> SessionRecord:
    await store.workers.register(WorkerInfo("w1", 1000.0, (MODEL,)))
    await store.keys.create(KEY)
    await store.keys.add_ticket(TICKET, KEY.id, now=NOW, expires_at=NOW + timedelta(days=1))
    await store.subscriptions.create(SUBSCRIPTION, cursor="0", limits=SubscriptionLimits(100, 100))
    await store.models.put(UPLOADED, max_kept=100)
    target = StoredWebhook(url=SecretStr("https://example.org/"), secret=SecretStr("s"))
    session = record().model_copy(update={"webhook": target, "owner": KEY.id})
    session = await store.sessions.create(session, max_queued=10**6, may_wait=True)
    assert await store.feedback.put(session.id, FEEDBACK, max_kept=100)
    return session


async def check_sound_session(store: Store, session: SessionRecord) -> None:
    """Everything can be read, changed and deleted."""
    assert session.id in [found.id for found in await store.sessions.live(limit=50)]
    assert session.id in [found.id for found in (await store.sessions.page(limit=50, sight=Sight(owner=KEY.id)))[0]]
    assert "w1" in [worker.id for worker in await store.workers.live()]
    await check_key(store)
    assert UPLOADED in await store.models.all()
    token = await claim(store, session.id)
    await store.log.load_resume_point(session.id)
    scores = ScoreRow(5.0, [0.5, 0.25])
    events = [start(session.id, "5-0")]
    await store.log.commit(session.id, token, events=events, resume_point=CHECKPOINT, scores=[scores])
    assert await store.log.load_resume_point(session.id) == CHECKPOINT
    assert scores in await store.log.read_scores(session.id)
    await check_events(store, session.id)
    assert FEEDBACK in await store.feedback.of_session(session.id)
    await check_deliveries(store, session.id)
    await store.workers.load()
    await store.workers.renew("w1")
    await check_deletion(store, session, token)


async def check_key(store: Store) -> None:
    assert KEY.id in [key.id for key in await store.keys.all()]
    assert await store.keys.find(KEY.id) == KEY
    assert await store.keys.find_ticket(TICKET, now=NOW) == KEY.id
    assert (await store.keys.usage(KEY.id)).sessions > 0


async def check_events(store: Store, session_id: str) -> None:
    assert await event_ids(store, session_id) == ["0-0", "5-0"]
    for page in (
        await store.log.read(after="0", limit=1000, sight=Sight(owner=KEY.id)),
        await store.log.read_back(limit=1000),
    ):
        logged = {entry.event.id for entry in page.entries if entry.event.session_id == session_id}
        assert logged == {"0-0", "5-0"}


async def check_deliveries(store: Store, session_id: str) -> None:
    """Of the session's webhook and of the subscription."""
    assert session_id in [webhook.session_id for webhook in await store.outbox.due(now_unix_s=1e12, limit=100)]
    assert (await store.outbox.backlog(now_unix_s=NOW.timestamp())).pending > 0
    await store.outbox.note_delivered(session_id, "0-0", after=None, now_unix_s=1.0, last=False)
    await store.outbox.note_failed(session_id, "5-0", reason="503", now_unix_s=2.0, retry_unix_s=3.0)
    progress = await store.outbox.progress(session_id)
    assert progress is not None
    assert progress.webhook.delivered == "0-0"
    readable = [attempt.failure for attempt in progress.attempts if attempt.at_unix_s in (1.0, 2.0)]
    assert readable == ["503", None]
    assert all(math.isfinite(attempt.at_unix_s) for attempt in progress.attempts)
    assert SUBSCRIPTION.id in [found.record.id for found in await store.subscriptions.all()]
    assert (await store.subscriptions.get(SUBSCRIPTION.id)).record == SUBSCRIPTION
    assert SUBSCRIPTION.id in await store.subscriptions.drive()


async def check_deletion(store: Store, session: SessionRecord, token: int) -> None:
    now = datetime.now(UTC)
    end = state_event(await store.sessions.get(session.id), "stopped", time=now)
    await store.log.commit(session.id, token, events=[end], update=SessionUpdate(state="stopped", ended_at=now))
    assert session.id in await store.sessions.ended_before(now + timedelta(days=1), limit=100)
    await store.sessions.delete(session.id)
    try:
        await store.sessions.get(session.id)
    except NotFoundError:
        return
    raise AssertionError("the deleted session is still there")


async def claim(store: Store, session_id: str) -> int:
    """Claim sessions until it is this one, and return its token."""
    for _ in range(100):
        claimed = await store.workers.claim("w1")
        assert claimed is not None
        if claimed.id == session_id:
            return claimed.token
    raise AssertionError("the sound session was not claimed")
