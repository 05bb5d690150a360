"""Rows of random shape in every table and stream: valid data keep working."""

import asyncio
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import ResponseError

from service.access.scopes import Scope
from service.event_schemas import event_key
from tests.support.access_kit import bearer, make_key
from tests.support.poisons import POISONS, Poison, Values, insert_rows
from tests.support.redis_server import RedisServer
from tests.support.running_server import Running, running_server, until
from tests.support.sound_session import check_sound_session, make_sound_session
from tests.support.store_kit import BACKENDS, Clock, open_redis, open_sqlite
from tests.support.webhook_receiver import Receiver, receiving

json_like = st.sampled_from(["{}", "[]", "null", '{"id": 1}', '{"type": "action.start"}', "[{}]", '"x"', "{", ""])
value = st.one_of(json_like, st.text(max_size=8), st.integers(-5, 2**40), st.binary(max_size=8), st.floats())
rows = st.lists(st.tuples(st.integers(0, 10**6), st.lists(value, min_size=40, max_size=40)), min_size=5, max_size=25)


@pytest.mark.slow
@given(content=rows)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_valid_session_works_next_to_random_rows_in_sqlite(content: list[tuple[int, Values]]) -> None:
    with TemporaryDirectory() as folder:

        async def run() -> None:
            store = open_sqlite(Path(folder), Clock())
            session = await make_sound_session(store)
            await asyncio.to_thread(insert_rows, Path(folder) / "cake.db", content, session.id)
            await check_sound_session(store, session)
            await store.close()

        asyncio.run(run())


def write(poison: Poison, client: Redis, session_id: str, values: Values) -> None:
    # Redis refuses some ids of entries.
    with suppress(ResponseError):
        poison(client, session_id, values)


@pytest.mark.parametrize("poison", POISONS)
@given(values=st.lists(value, min_size=8, max_size=8))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_valid_session_works_next_to_random_rows_in_redis(
    shared_redis: RedisServer, poison: Poison, values: Values
) -> None:
    shared_redis.empty()

    async def run() -> None:
        store = open_redis(shared_redis.url, Clock())
        with shared_redis.client() as client:
            await asyncio.to_thread(write, poison, client, "earlier", values)
            session = await make_sound_session(store)
            await asyncio.to_thread(write, poison, client, session.id, values)
        try:
            await check_sound_session(store, session)
        finally:
            await store.close()

    asyncio.run(run())


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

            def add_rows(content: list[tuple[int, Values]]) -> None:
                if redis is None:
                    insert_rows(tmp_path / "cake.db", content, session.id)
                    return
                with redis.client() as client:
                    for number, values in content:
                        write(POISONS[number % len(POISONS)], client, session.id, values)

            @given(content=rows)
            @settings(max_examples=5, phases=[Phase.generate])
            def every_request_succeeds(content: list[tuple[int, Values]]) -> None:
                add_rows(content)
                checked = check_server(server, session.id, receiver)
                asyncio.run_coroutine_threadsafe(checked, loop).result()

            await asyncio.to_thread(every_request_succeeds)


async def check_server(server: Running, session_id: str, receiver: Receiver) -> None:
    await server.worker.store.workers.renew(server.worker.id)
    last = server.worker.records[session_id].last_event_id
    assert last is not None
    [event] = await server.worker.starts(session_id, [event_key(last)[0] / 1000 + 1.0])
    of_session = ("", "/scores", "/webhook", "/feedback", "/export?format=jsonl")
    paths = [f"/v1/sessions/{session_id}{path}" for path in of_session]
    for path in ("/livez", "/readyz", "/metrics", "/v1/sessions", "/v1/models", "/v1/subscriptions", *paths):
        response = await server.http.get(path)
        assert response.status_code == 200, f"{path}: {response.text}"
    page = await server.http.get(f"/v1/sessions/{session_id}/events?after={last}")
    assert [found["id"] for found in page.json()["events"]] == [event.id]
    async with asyncio.timeout(60):
        await until(lambda: event.id in receiver.ids)
