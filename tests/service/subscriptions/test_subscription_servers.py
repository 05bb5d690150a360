"""Several servers share a Redis: one of them delivers, and another continues where it was killed."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from service.store import open_store
from tests.support.events_kit import times_s
from tests.support.mosquitto import mosquitto, subscriber
from tests.support.running_server import Worker, child_server, until
from tests.support.webhook_receiver import receiving

QUICK = """
from service.store.redis import outbox, subscriptions
outbox.TAKE_OVER_AFTER_S = subscriptions.TAKE_OVER_AFTER_S = 2.0
"""


@pytest.mark.slow
async def test_the_other_server_continues_where_the_first_was_killed(tmp_path: Path, redis_url: str) -> None:
    environ = {"CAKE_SOURCE_ALLOW": "127.0.0.0/8", "CAKE_STORE_URL": redis_url}
    async with AsyncExitStack() as stack:
        broker = stack.enter_context(mosquitto(tmp_path / "broker"))
        found = await stack.enter_async_context(subscriber(broker))
        url, receiver = stack.enter_context(receiving())
        servers = [
            await stack.enter_async_context(child_server(tmp_path / name, environ=environ, prelude=QUICK))
            for name in ("first", "second")
        ]
        store = open_store(redis_url)
        stack.push_async_callback(store.close)
        worker = Worker(store)
        await worker.register()
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=servers[1].url, verify=False, timeout=120))
        for target in ({"kind": "webhook", "url": url}, {"kind": "mqtt", "url": broker.url}):
            body = {"target": target, "filter": {"type": ["action.start"]}}
            assert (await client.post("/v1/subscriptions", json=body)).status_code == 201
        session_id = (await client.post("/v1/sessions", json={"source": {"url": url}})).json()["id"]
        await worker.claim()
        before = await worker.starts(session_id, times_s(1, 100))
        async with asyncio.timeout(60):
            await until(lambda: len(receiver.taken) >= 20)
        servers[0].process.send_signal(signal.SIGKILL)
        await servers[0].process.wait()
        after = await worker.starts(session_id, times_s(100, 131))
        expected = [event.id for event in (*before, *after)]
        topic = f"cake/{session_id}/kick/event"
        async with asyncio.timeout(120):
            await until(lambda: receiver.ids[-1:] == expected[-1:])
            await until(lambda: len(found.of(topic)) >= len(expected))
        assert list(dict.fromkeys(receiver.ids)) == expected
        repeated = len(receiver.ids) - len(expected)
        assert repeated <= 20, "only what was not noted when the first server died may come twice"
