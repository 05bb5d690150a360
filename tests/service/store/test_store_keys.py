"""The contract of a store: keys, their sessions, their limits, and tickets."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from service.access.keys import ApiKey, Limits, Person, key_of_person, new_key
from service.access.scopes import Scope
from service.access.sight import ALL, Sight
from service.errors import (
    IdempotencyConflictError,
    InvalidRequestError,
    NotFoundError,
    SessionLimitError,
    StorageLimitError,
)
from service.store.protocols import Store
from service.store.records import KeyUsage, SettingsChange
from service.store.revocation import revoke_key
from service.store.webhook_records import StoredWebhook
from tests.support.store_kit import queue, record, start

LIMITS = Limits(max_sessions=2, requests_per_s=10, max_stored_bytes=100)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def made(store: Store, name: str) -> ApiKey:
    key = new_key(name, [Scope.EVENTS_READ], LIMITS, created_at=NOW)[1]
    await store.keys.create(key)
    return key


async def test_keys_are_found_by_their_id_and_listed_in_order(store: Store) -> None:
    assert not await store.keys.exist()
    first, second = await made(store, "first"), await made(store, "second")
    assert await store.keys.exist()
    assert await store.keys.find(second.id) == second
    assert await store.keys.find("0" * 16) is None
    assert await store.keys.all() == [first, second]


async def test_a_name_is_taken_until_its_key_is_revoked(store: Store) -> None:
    first = await made(store, "yard")
    with pytest.raises(InvalidRequestError):
        await made(store, "yard")
    await store.keys.revoke("yard", now=NOW)
    second = await made(store, "yard")
    assert (await store.keys.revoke("yard", now=NOW)).id == second.id
    assert first.id != second.id


async def test_a_changed_key_keeps_its_id_and_its_place(store: Store) -> None:
    first, second = await made(store, "first"), await made(store, "second")
    changed = await store.keys.change(first.id, lambda key: key.model_copy(update={"expires_at": NOW}))
    assert changed.expires_at == NOW
    assert await store.keys.all() == [changed, second]
    with pytest.raises(NotFoundError):
        await store.keys.change("0" * 16, lambda key: key)


async def test_two_concurrent_changes_of_a_key_both_take_effect(store: Store) -> None:
    key = await made(store, "yard")

    def limit(name: str, value: int) -> Callable[[ApiKey], ApiKey]:
        return lambda key: key.model_copy(update={"limits": key.limits.model_copy(update={name: value})})

    await asyncio.gather(
        store.keys.change(key.id, limit("max_sessions", 5)), store.keys.change(key.id, limit("max_stored_bytes", 7))
    )
    changed = await store.keys.find(key.id)
    assert changed is not None
    assert (changed.limits.max_sessions, changed.limits.max_stored_bytes) == (5, 7)


async def test_a_person_has_one_key_whose_name_is_not_taken(store: Store) -> None:
    person = Person(issuer="https://login.example.org", subject="42")
    named = await made(store, "ann")
    ann = key_of_person(person, "ann", [Scope.EVENTS_READ], LIMITS, created_at=NOW)
    assert await store.keys.admit(ann) == ann
    assert await store.keys.admit(ann.model_copy(update={"name": "Ann"})) == ann
    assert await store.keys.all() == [named, ann]
    assert await store.keys.revoke("ann", now=NOW) == named.model_copy(update={"revoked_at": NOW})
    with pytest.raises(NotFoundError):
        await store.keys.revoke("ann", now=NOW)
    assert (await store.keys.revoke(ann.id, now=NOW)).person == person
    assert (await store.keys.admit(ann)).revoked_at == NOW


async def test_a_revoked_key_stays_known_as_revoked(store: Store) -> None:
    key = await made(store, "yard")
    revoked = await store.keys.revoke(key.id, now=NOW)
    assert revoked.revoked_at == NOW
    assert await store.keys.revoke(key.id, now=NOW + timedelta(days=1)) == revoked
    assert await store.keys.find(key.id) == revoked
    assert await store.keys.exist()
    for unknown in ("yard", "other", ""):
        with pytest.raises(NotFoundError):
            await store.keys.revoke(unknown, now=NOW)


async def test_an_owner_sees_its_own_sessions_and_no_others(store: Store) -> None:
    mine = await queue(store, record().model_copy(update={"owner": "a"}))
    others = [await queue(store, record().model_copy(update={"owner": "b"})), await queue(store)]
    assert (await store.sessions.get(mine.id, sight=Sight(owner="a"))).owner == "a"
    for other in others:
        with pytest.raises(NotFoundError) as hidden:
            await store.sessions.get(other.id, sight=Sight(owner="a"))
        with pytest.raises(NotFoundError) as missing:
            await store.sessions.get("none", sight=Sight(owner="a"))
        assert hidden.value.detail == missing.value.detail
    assert [session.id for session in (await store.sessions.page(limit=9, sight=Sight(owner="a")))[0]] == [mine.id]
    assert len((await store.sessions.page(limit=9))[0]) == 3


async def test_pages_of_an_owner_s_sessions_are_full(store: Store) -> None:
    mine = []
    for _ in range(3):
        mine.append((await queue(store, record().model_copy(update={"owner": "a"}))).id)
        await queue(store, record().model_copy(update={"owner": "b"}))
    first, cursor = await store.sessions.page(limit=2, sight=Sight(owner="a"))
    second, end = await store.sessions.page(limit=2, before=cursor, sight=Sight(owner="a"))
    assert [session.id for session in first + second] == mine[::-1]
    assert end is None


async def test_the_common_log_names_owners_and_can_be_read_for_one(store: Store) -> None:
    await queue(store, record().model_copy(update={"owner": "a"}))
    mine = await store.workers.claim("w1")
    assert mine is not None
    other = await queue(store)
    await store.log.commit(mine.id, mine.token, events=[start(mine.id, "5-0")])
    entries = (await store.log.read(after="0")).entries
    assert [(entry.event.session_id, entry.owner) for entry in entries] == [
        (mine.id, "a"),
        (other.id, None),
        (mine.id, "a"),
    ]
    assert (await store.log.read(after="0", sight=Sight(owner="a"))).entries == [entries[0], entries[2]]
    assert (await store.log.read(after="0", sight=Sight(owner="a"), limit=1)).entries == [entries[0]]


async def test_a_sight_by_metadata_is_the_same_for_sessions_and_for_the_log(store: Store) -> None:
    queued = []
    for owner, metadata in (
        ("a", {"site": "north", "floor": "1"}),
        ("b", {"site": "north", "floor": "2"}),
        (None, {"site": "south"}),
        ("a", {}),
        ("a", {"site": "north"}),
    ):
        queued.append(await queue(store, record().model_copy(update={"owner": owner, "metadata": metadata})))
    # What a session has now counts, not what it had when an event was decided.
    await store.sessions.change(queued[4].id, SettingsChange(metadata={"site": "south"}))
    logged = (await store.log.read(after="0")).entries
    north, floors = frozenset({"north"}), frozenset({"1", "3"})
    for sight, shown in (
        (Sight.of_metadata({"site": north}), [0, 1]),
        (Sight.of_metadata({"site": frozenset({"north", "south"})}), [0, 1, 2, 4]),
        (Sight.of_metadata({"site": north, "floor": floors}), [0]),
        (Sight.of_metadata({"door": frozenset({""})}), []),
        (Sight(owner="a"), [0, 3, 4]),
        (ALL, [0, 1, 2, 3, 4]),
    ):
        ids = [queued[n].id for n in shown]
        assert [session.id for session in (await store.sessions.page(limit=9, sight=sight))[0]] == ids[::-1]
        assert [session.id for session in await store.sessions.live(limit=2, sight=sight)] == ids[:2]
        assert [each.event.session_id for each in (await store.log.read(after="0", sight=sight)).entries] == ids
        assert [each.event.session_id for each in (await store.log.read_back(limit=1, sight=sight)).entries] == ids[-1:]
        assert [each.event.session_id for each in await store.log.in_sight(logged, sight)] == ids
        for session in queued:
            if session.id in ids:
                await store.sessions.get(session.id, sight=sight)
            else:
                with pytest.raises(NotFoundError):
                    await store.sessions.get(session.id, sight=sight)


async def test_two_owners_may_choose_the_same_idempotency_key(store: Store) -> None:
    async def submit(owner: str | None, digest: str = "d") -> str:
        session = record().model_copy(update={"owner": owner})
        return (await store.sessions.create(session, max_queued=10, idempotency_key="k", digest=digest)).id

    ids = [await submit(owner) for owner in ("a", "b", None)]
    assert len(set(ids)) == 3
    assert [await submit(owner) for owner in ("a", "b", None)] == ids
    with pytest.raises(IdempotencyConflictError):
        await submit("a", digest="other")


async def test_the_sessions_of_an_owner_are_limited_until_one_has_ended(store: Store) -> None:
    async def submit(owner: str, key: str | None = None) -> str:
        session = record().model_copy(update={"owner": owner})
        return (await store.sessions.create(session, max_queued=10, idempotency_key=key, limits=LIMITS)).id

    first = await submit("a", "k")
    await submit("a")
    with pytest.raises(SessionLimitError) as refused:
        await submit("a")
    assert refused.value.retry_after_s
    assert await submit("a", "k") == first
    await submit("b")
    await store.sessions.request_stop(first)
    await submit("a")


async def test_the_stored_bytes_of_an_owner_are_limited_until_a_session_is_deleted(store: Store) -> None:
    async def submit(upload_bytes: int) -> str:
        session = record().model_copy(update={"owner": "a", "upload_bytes": upload_bytes})
        return (await store.sessions.create(session, max_queued=10, limits=LIMITS)).id

    first = await submit(80)
    assert await store.keys.usage("a") == KeyUsage(sessions=1, stored_bytes=80)
    await store.sessions.request_stop(first)
    with pytest.raises(StorageLimitError) as refused:
        await submit(21)
    assert refused.value.retry_after_s
    await submit(20)
    await store.sessions.delete(first)
    assert await store.keys.usage("a") == KeyUsage(sessions=1, stored_bytes=20)
    await submit(80)


async def test_a_session_of_an_owner_without_an_upload_is_deleted(store: Store) -> None:
    session = record().model_copy(update={"owner": "a"})
    await store.sessions.create(session, max_queued=10, limits=LIMITS)
    await store.sessions.request_stop(session.id)
    await store.sessions.delete(session.id)
    assert await store.sessions.existing([session.id]) == set()
    assert await store.keys.usage("a") == KeyUsage(sessions=0, stored_bytes=0)


async def test_concurrently_submitted_sessions_stay_within_the_limit(store: Store) -> None:
    sessions = [record().model_copy(update={"owner": "a"}) for _ in range(6)]
    attempts = await asyncio.gather(
        *(store.sessions.create(session, max_queued=10, limits=LIMITS) for session in sessions), return_exceptions=True
    )
    assert sum(isinstance(attempt, SessionLimitError) for attempt in attempts) == 4
    assert (await store.keys.usage("a")).sessions == 2


async def test_a_ticket_is_redeemed_once_and_in_time(store: Store) -> None:
    later = NOW + timedelta(seconds=30)
    for digest in ("d1", "d2"):
        await store.keys.add_ticket(digest, "a", now=NOW, expires_at=later)
    attempts = await asyncio.gather(*(store.keys.redeem_ticket("d1", now=NOW) for _ in range(4)))
    assert sorted(attempts, key=str) == [None, None, None, "a"]
    assert await store.keys.redeem_ticket("d2", now=later) is None
    assert await store.keys.redeem_ticket("d3", now=NOW) is None


async def test_a_ticket_is_found_any_number_of_times_until_it_expires(store: Store) -> None:
    later = NOW + timedelta(seconds=30)
    await store.keys.add_ticket("d1", "a", now=NOW, expires_at=later)
    assert [await store.keys.find_ticket("d1", now=NOW) for _ in range(2)] == ["a", "a"]
    assert await store.keys.find_ticket("d1", now=later) is None
    assert await store.keys.find_ticket("d2", now=NOW) is None


async def test_tickets_of_a_revoked_key_are_deleted(store: Store) -> None:
    key = await made(store, "yard")
    await store.keys.add_ticket("d", key.id, now=NOW, expires_at=NOW + timedelta(seconds=30))
    await store.keys.revoke(key.id, now=NOW)
    assert await store.keys.redeem_ticket("d", now=NOW) is None


async def test_the_last_use_of_a_key_is_kept(store: Store) -> None:
    key = await made(store, "a")
    await store.keys.note_used(key.id, now=NOW)
    assert [found.last_used_at for found in await store.keys.all()] == [NOW]


async def test_revoking_a_key_stops_its_sessions_and_their_webhooks(store: Store) -> None:
    key = await made(store, "a")
    target = StoredWebhook(url=SecretStr("https://example.org/"), secret=SecretStr("s"))
    mine = [await queue(store, record().model_copy(update={"owner": key.id, "webhook": target})) for _ in range(3)]
    other = await queue(store, record().model_copy(update={"webhook": target}))
    running = await store.workers.claim("w1")
    assert running is not None
    revoked, stopped = await revoke_key(store, "a", now=NOW)
    assert revoked.revoked_at == NOW
    states = {mine[0].id: "queued", mine[1].id: "stopped", mine[2].id: "stopped"}
    assert {session.id: session.state for session in stopped} == states
    assert (await store.workers.renew("w1")).stop_requested == {mine[0].id}
    assert [(await store.sessions.get(session.id)).state for session in mine[1:]] == ["stopped", "stopped"]
    assert [due.session_id for due in await store.outbox.due(now_unix_s=1e12, limit=9)] == [other.id]
    await store.log.commit(running.id, running.token, events=[start(running.id, "5-0")])
    assert [due.session_id for due in await store.outbox.due(now_unix_s=1e12, limit=9)] == [other.id]
