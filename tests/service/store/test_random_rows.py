"""Rows of random shape in every table and stream: what is sound keeps working."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import ResponseError

from service.access.keys import Limits, new_key
from service.access.scopes import Scope
from service.event_schemas import event_key
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.webhook_records import StoredWebhook
from service.store.worker_records import WorkerInfo
from tests.support.access_kit import bearer, make_key
from tests.support.redis_server import RedisServer
from tests.support.running_server import Running, running_server, until
from tests.support.store_kit import BACKENDS, MODEL, Clock, event_ids, open_redis, open_sqlite, record, start
from tests.support.webhook_receiver import Receiver, receiving

LIMITS = Limits(max_sessions=100, requests_per_s=1.0, max_stored_bytes=100)
_, KEY = new_key("sound", [Scope.ADMIN], LIMITS, created_at=datetime.now(UTC))
json_like = st.sampled_from(["{}", "[]", "null", '{"id": 1}', '{"type": "action.start"}', "[{}]", '"x"', "{", ""])
value = st.one_of(json_like, st.text(max_size=8), st.integers(-5, 2**40), st.binary(max_size=8), st.floats())
rows = st.lists(st.tuples(st.integers(0, 10**6), st.lists(value, min_size=40, max_size=40)), min_size=5, max_size=25)


async def make_sound_session(store: Store) -> SessionRecord:
    await store.workers.register(WorkerInfo("w1", 1000.0, (MODEL,)))
    await store.keys.create(KEY)
    target = StoredWebhook(url=SecretStr("https://example.org/"), secret=SecretStr("s"))
    session = record().model_copy(update={"webhook": target, "owner": KEY.id})
    return await store.sessions.create(session, max_queued=10**6, may_wait=True)


async def check_sound_session(store: Store, session: SessionRecord) -> None:
    assert (await store.sessions.get(session.id)).id == session.id
    assert session.id in [found.id for found in (await store.sessions.page(limit=50, owner=KEY.id))[0]]
    assert "w1" in [worker.id for worker in await store.workers.live()]
    assert KEY.id in [key.id for key in await store.keys.all()]
    assert await store.keys.find(KEY.id) == KEY
    assert session.id in [webhook.session_id for webhook in await store.outbox.due(now_unix_s=1e12, limit=100)]
    token = await claim(store, session.id)
    await store.log.commit(session.id, token, events=[start(session.id, "5-0")])
    assert await event_ids(store, session.id) == ["0-0", "5-0"]
    await store.subscriptions.all()
    await store.subscriptions.drive()
    logged = (await store.log.read(after="0", limit=1000, owner=KEY.id)).entries
    assert [entry.event.id for entry in logged if entry.event.session_id == session.id] == ["0-0", "5-0"]
    await store.sessions.ended_before(datetime.now(UTC) + timedelta(days=1), limit=100)
    await store.workers.load()
    await store.workers.renew("w1")


async def claim(store: Store, session_id: str) -> int:
    for _ in range(100):
        claimed = await store.workers.claim("w1")
        assert claimed is not None
        if claimed.id == session_id:
            return claimed.token
    raise AssertionError("the sound session was not claimed")


def insert_rows(path: Path, content: list[tuple[int, list[object]]]) -> None:
    db = sqlite3.connect(path)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    tables = [name for name in tables if not name.startswith("sqlite_") and name != "additions"]
    for number, values in content:
        table = tables[number % len(tables)]
        width = len(db.execute(f"PRAGMA table_info({table})").fetchall())
        with suppress(sqlite3.Error):
            db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({','.join('?' * width)})", values[:width])
    db.commit()
    db.close()


@given(content=rows)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_valid_session_works_next_to_random_rows_in_sqlite(content: list[tuple[int, list[object]]]) -> None:
    with TemporaryDirectory() as folder:

        async def run() -> None:
            store = open_sqlite(Path(folder), Clock())
            session = await make_sound_session(store)
            await asyncio.to_thread(insert_rows, Path(folder) / "cake.db", content)
            await check_sound_session(store, session)
            await store.close()

        asyncio.run(run())


def hash_row(name: str, fields: tuple[str, ...]) -> Callable[[Redis, list[object]], None]:
    def write(client: Redis, values: list[object]) -> None:
        for field, content in zip(fields, values, strict=False):
            if values.index(content) % 3:
                client.hset(name, field, content)  # type: ignore[arg-type]

    return write


def stream_row(name: str, fields: tuple[str, ...], entry_id: str = "*") -> Callable[[Redis, list[object]], None]:
    def write(client: Redis, values: list[object]) -> None:
        client.xadd(name, dict(zip(fields, values, strict=False)), id=entry_id)  # type: ignore[arg-type]

    return write


def poison_session(client: Redis, values: list[object]) -> None:
    """A session of random fields that waits in a queue and is in every index."""
    hash_row("{cake}:session:bad", ("_n", "_cost", "_pace", "_model", "_entry", "id", "source", "state"))(
        client, values
    )
    client.hset("{cake}:session:bad", mapping={"_owner": KEY.id, "_worker": ""})
    client.xadd("{cake}:queue:fast:mocap", {"session": "bad"})
    for index in ("sessions", f"sessions:owner:{KEY.id}", "sessions:state:queued", "orphans"):
        client.zadd(f"{{cake}}:{index}", {"bad": 99})


def poison_worker(client: Redis, values: list[object]) -> None:
    hash_row("{cake}:worker:bad", ("info", "capacity"))(client, values)
    client.zadd("{cake}:leases", {"bad": 1005.0})


def poison_webhook(client: Redis, values: list[object]) -> None:
    hash_row("{cake}:webhook:bad", ("url", "attempts", "failing_since", "secret"))(client, values)
    client.zadd("{cake}:webhooks", {"bad": 0})


def poison_subscription(client: Redis, values: list[object]) -> None:
    hash_row("{cake}:subscription:bad", ("record", "revision", "progress", "key"))(client, values)
    client.hset("{cake}:subscription:bad", "state", "active")
    client.zadd("{cake}:subscriptions", {"bad": 0})


def poison_key(client: Redis, values: list[object]) -> None:
    client.hset("{cake}:keys", "bad", values[0])  # type: ignore[arg-type]
    client.rpush("{cake}:keys:order", "bad")


POISONS: tuple[Callable[[Redis, list[object]], None], ...] = (
    poison_session,
    poison_worker,
    poison_webhook,
    poison_subscription,
    poison_key,
    stream_row("{cake}:queue:fast:mocap", ("session",)),
    stream_row("{cake}:queue:fast:mocap", ("other",)),
    stream_row("{cake}:queue:realtime:mocap", ("session", "other")),
    stream_row("{cake}:log", ("event", "owner"), "2-0"),
    stream_row("{cake}:log", ("other",), "3-0"),
)


@pytest.mark.parametrize("poison", range(len(POISONS)))
@given(values=st.lists(value, min_size=8, max_size=8))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_valid_session_works_next_to_random_rows_in_redis(
    shared_redis: RedisServer, poison: int, values: list[object]
) -> None:
    shared_redis.empty()

    async def run() -> None:
        store = open_redis(shared_redis.url, Clock())
        await store.workers.register(WorkerInfo("w1", 1000.0, (MODEL,)))
        with shared_redis.client() as client, suppress(ResponseError):
            await asyncio.to_thread(POISONS[poison], client, values)
        session = await make_sound_session(store)
        try:
            await check_sound_session(store, session)
        finally:
            await store.close()

    asyncio.run(run())


def write_poisons(client: Redis, content: list[tuple[int, list[object]]]) -> None:
    for number, values in content:
        with suppress(ResponseError):
            POISONS[number % len(POISONS)](client, values)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_server_keeps_working_while_random_rows_fill_its_store(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Health checks, another session and its webhook. The rows stay: each example adds some."""
    redis: RedisServer | None = None
    if backend == "redis":
        request.getfixturevalue("redis_url")
        redis = request.getfixturevalue("shared_redis")
    loop = asyncio.get_running_loop()
    with receiving() as (hook, receiver):
        async with running_server(tmp_path, store_url=redis and redis.url) as server:
            # A row of the table of keys turns authentication on.
            server.http.headers.update(bearer(await make_key(server, Scope.ADMIN)))
            session = await server.submit(webhook={"url": hook})
            await server.worker.claim()

            def add_rows(content: list[tuple[int, list[object]]]) -> None:
                if redis is None:
                    insert_rows(tmp_path / "cake.db", content)
                else:
                    with redis.client() as client:
                        write_poisons(client, content)

            @given(content=rows)
            @settings(max_examples=5, phases=[Phase.generate])
            def every_request_succeeds(content: list[tuple[int, list[object]]]) -> None:
                add_rows(content)
                checked = check_server(server, session.id, receiver)
                asyncio.run_coroutine_threadsafe(checked, loop).result()

            await asyncio.to_thread(every_request_succeeds)


async def check_server(server: Running, session_id: str, receiver: Receiver) -> None:
    await server.worker.store.workers.renew(server.worker.id)
    last = server.worker.records[session_id].last_event_id
    assert last is not None
    [event] = await server.worker.starts(session_id, [event_key(last)[0] / 1000 + 1.0])
    for path in ("/livez", "/readyz", "/metrics", "/v1/sessions", "/v1/models", f"/v1/sessions/{session_id}"):
        assert (await server.http.get(path)).status_code == 200, path
    page = await server.http.get(f"/v1/sessions/{session_id}/events?after={last}")
    assert [found["id"] for found in page.json()["events"]] == [event.id]
    async with asyncio.timeout(60):
        await until(lambda: event.id in receiver.ids)
