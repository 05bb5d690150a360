"""Both stores keep how far a webhook's delivery has come, the newest attempts, and its secrets."""

from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.webhook_records import MAX_DELIVERY_ATTEMPTS, StoredWebhook
from tests.support.store_kit import event_ids, record, start


async def session_with_events(store: Store, *event_ids: str) -> SessionRecord:
    target = StoredWebhook(url=SecretStr("http://example.org/hook"), secret=SecretStr("whsec_first"))
    await store.sessions.create(record().model_copy(update={"webhook": target, "owner": "k1"}), max_queued=10)
    session = await store.workers.claim("w1")
    assert session is not None
    events = [start(session.id, event_id) for event_id in event_ids]
    await store.log.commit(session.id, session.token, events=events)
    return session


async def due_after(store: Store, now_unix_s: float = 1e9) -> list[str | None]:
    return [webhook.delivered for webhook in await store.outbox.due(now_unix_s=now_unix_s, limit=9)]


async def test_a_session_without_a_webhook_has_no_progress(store: Store) -> None:
    session = await store.sessions.create(record(), max_queued=10)
    assert await store.outbox.progress(session.id) is None
    assert await store.outbox.progress("unknown") is None


async def test_progress_shows_failures_until_the_receiver_accepts(store: Store) -> None:
    session = await session_with_events(store, "100-0", "200-0")
    progress = await store.outbox.progress(session.id)
    assert progress is not None
    assert (progress.state, progress.next_attempt_unix_s, progress.attempts) == ("active", None, ())
    await store.outbox.note_failed(session.id, "0-1", reason="503", now_unix_s=10.0, retry_unix_s=15.0)
    progress = await store.outbox.progress(session.id)
    assert progress is not None
    assert (progress.state, progress.next_attempt_unix_s, progress.webhook.attempts) == ("retrying", 15.0, 1)
    assert progress.webhook.failing_since_unix_s == 10.0
    assert await store.outbox.note_delivered(session.id, "0-1", after=None, now_unix_s=16.0, last=False)
    progress = await store.outbox.progress(session.id)
    assert progress is not None
    assert (progress.state, progress.webhook.delivered, progress.webhook.attempts) == ("active", "0-1", 0)
    assert [(a.event_id, a.at_unix_s, a.failure) for a in progress.attempts] == [
        ("0-1", 16.0, None),
        ("0-1", 10.0, "503"),
    ]


async def test_the_backlog_counts_webhooks_and_the_age_of_the_oldest_undelivered_event(store: Store) -> None:
    async def backlog() -> tuple[int, float]:
        now_unix_s = datetime.now(UTC).timestamp() + 1000
        found = await store.outbox.backlog(now_unix_s=now_unix_s)
        return found.pending, found.oldest_s

    assert await backlog() == (0, 0.0)
    first, second = await session_with_events(store, "100-0"), await session_with_events(store, "100-0")
    pending, oldest_s = await backlog()
    assert pending == 2
    assert oldest_s == pytest.approx(1000, abs=100)
    for event_id, after in (("0-0", None), ("100-0", "0-0")):
        assert await store.outbox.note_delivered(first.id, event_id, after=after, now_unix_s=1.0, last=False)
    assert (await backlog())[0] == 1
    await store.outbox.note_failed(second.id, "0-0", reason="410", now_unix_s=1.0, retry_unix_s=None)
    assert await backlog() == (0, 0.0)


async def test_a_webhook_that_is_given_up_is_disabled_until_it_is_redelivered(store: Store) -> None:
    session = await session_with_events(store, "100-0")
    await store.outbox.note_failed(session.id, "0-1", reason="410", now_unix_s=1.0, retry_unix_s=None)
    progress = await store.outbox.progress(session.id)
    assert progress is not None
    assert progress.state == "disabled"
    assert await due_after(store) == []
    await store.outbox.redeliver(session.id, after="0-1")
    progress = await store.outbox.progress(session.id)
    assert progress is not None
    assert (progress.state, progress.webhook.delivered) == ("active", "0-1")
    assert await due_after(store) == ["0-1"]


async def test_the_last_event_finishes_a_webhook_and_redelivery_starts_it_over(store: Store) -> None:
    session = await session_with_events(store, "100-0")
    first, last = await event_ids(store, session.id)
    assert await store.outbox.note_delivered(session.id, first, after=None, now_unix_s=1.0, last=False)
    assert await store.outbox.note_delivered(session.id, last, after=first, now_unix_s=2.0, last=True)
    progress = await store.outbox.progress(session.id)
    assert progress is not None
    assert progress.state == "finished"
    await store.outbox.redeliver(session.id, after=None)
    assert await due_after(store) == [None]


async def test_a_delivery_under_way_when_the_cursor_was_set_back_is_not_recorded(store: Store) -> None:
    session = await session_with_events(store, "100-0", "200-0")
    assert await store.outbox.note_delivered(session.id, "0-1", after=None, now_unix_s=1.0, last=False)
    await store.outbox.redeliver(session.id, after=None)
    assert not await store.outbox.note_delivered(session.id, "100-0", after="0-1", now_unix_s=2.0, last=False)
    assert await due_after(store) == [None]
    assert not await store.outbox.note_delivered("unknown", "100-0", after=None, now_unix_s=2.0, last=False)


async def test_only_the_newest_attempts_are_kept(store: Store) -> None:
    session = await session_with_events(store, "100-0")
    for number in range(MAX_DELIVERY_ATTEMPTS + 7):
        await store.outbox.note_failed(session.id, "0-1", reason=str(number), now_unix_s=number, retry_unix_s=1.0)
    progress = await store.outbox.progress(session.id)
    assert progress is not None
    assert len(progress.attempts) == MAX_DELIVERY_ATTEMPTS
    assert progress.attempts[0].failure == str(MAX_DELIVERY_ATTEMPTS + 6)


async def test_a_rotated_secret_keeps_the_old_one_valid_for_a_time(store: Store) -> None:
    session = await session_with_events(store, "100-0")
    await store.outbox.rotate_secret(session.id, SecretStr("whsec_second"), old_until_unix_s=500.0)
    [webhook] = await store.outbox.due(now_unix_s=1e9, limit=9)
    assert webhook.secret.get_secret_value() == "whsec_second"
    assert webhook.old_secret is not None
    assert webhook.old_secret.get_secret_value() == "whsec_first"
    assert webhook.old_secret_until_unix_s == 500.0
    assert webhook.owner == "k1"


async def test_a_repeated_rotation_keeps_the_secret_before_it(store: Store) -> None:
    """A client repeats a rotation whose reply was lost; its receiver knows only the first secret yet."""
    session = await session_with_events(store, "100-0")
    for until_unix_s in (500.0, 600.0):
        await store.outbox.rotate_secret(session.id, SecretStr("whsec_second"), old_until_unix_s=until_unix_s)
    [webhook] = await store.outbox.due(now_unix_s=1e9, limit=9)
    assert webhook.old_secret is not None
    assert [each.get_secret_value() for each in (webhook.secret, webhook.old_secret)] == ["whsec_second", "whsec_first"]
    assert webhook.old_secret_until_unix_s == 600.0


async def test_sessions_and_owners_can_be_left_out_of_the_due_deliveries(store: Store) -> None:
    first, second = [await session_with_events(store, "100-0") for _ in range(2)]

    async def due(**left_out: list[str]) -> list[str]:
        return [webhook.session_id for webhook in await store.outbox.due(now_unix_s=1e9, limit=9, **left_out)]

    assert sorted(await due()) == sorted([first.id, second.id])
    assert await due(skip_sessions=[first.id]) == [second.id]
    assert await due(skip_owners=["k1"]) == []
    assert sorted(await due(skip_owners=["k2"])) == sorted([first.id, second.id])


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("https://Example.org/hook?key=1", "example.org"),
        ("http://user:p%40ss@example.org:8080", "example.org:8080"),
        ("http://[::1]:80/a@b", "[::1]:80"),
        ("http://example.org?@other", "example.org"),
        ("nonsense", ""),
    ],
)
async def test_a_receiver_can_be_left_out_of_the_due_deliveries(store: Store, url: str, receiver: str) -> None:
    target = StoredWebhook(url=SecretStr(url), secret=SecretStr("s"))
    await store.sessions.create(record().model_copy(update={"webhook": target}), max_queued=9)
    [webhook] = await store.outbox.due(now_unix_s=1e9, limit=9, skip_receivers=["another"])
    assert webhook.receiver == receiver
    assert list(await store.outbox.due(now_unix_s=1e9, limit=9, skip_receivers=[receiver])) == []


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_an_attempt_under_way_does_not_enable_a_disabled_webhook(store: Store, is_accepted: bool) -> None:
    session = await session_with_events(store, "100-0", "200-0")
    await store.outbox.disable_all_of("k1")
    if is_accepted:
        assert not await store.outbox.note_delivered(session.id, "100-0", after=None, now_unix_s=1.0, last=False)
    else:
        await store.outbox.note_failed(session.id, "100-0", reason="503", now_unix_s=1.0, retry_unix_s=2.0)
    await store.log.commit(session.id, session.token, events=[start(session.id, "300-0")])
    assert await due_after(store) == []
    progress = await store.outbox.progress(session.id)
    assert progress is not None
    assert progress.state == "disabled"


async def test_the_webhooks_of_a_revoked_key_are_disabled_and_not_finished(store: Store) -> None:
    session = await session_with_events(store, "100-0")
    await store.outbox.disable_all_of("k1")
    progress = await store.outbox.progress(session.id)
    assert progress is not None
    assert (progress.state, progress.next_attempt_unix_s) == ("disabled", None)
    await store.outbox.redeliver(session.id, after=None)
    progress = await store.outbox.progress(session.id)
    assert progress is not None
    assert progress.state == "active"
