"""A subscription adds events to a stream of a real Redis, in order, also when it is killed and restarted."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from service.subscriptions.deliverer import BACKOFFS
from service.webhooks.retry import Backoff
from tests.support.api_kit import problem
from tests.support.certificates import certificate_for
from tests.support.events_kit import times_s
from tests.support.redis_server import redis_server
from tests.support.running_server import running_server, until
from tests.support.subscription_kit import subscribe, until_state


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKOFFS, "redis", Backoff(first_s=0.2, longest_s=0.5))


def entries(client: Redis, stream: str = "cake:events") -> list[dict[bytes, bytes]]:
    rows: Any = client.xrange(stream)
    return [fields for _, fields in rows]


async def test_events_of_an_outage_are_added_in_order_when_redis_is_back(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "p@ss") as redis:
        client = Redis(port=redis.port, password="p@ss")
        async with running_server(tmp_path / "data") as server:
            target = {"kind": "redis", "url": f"redis://:p%40ss@127.0.0.1:{redis.port}/0"}
            created = await subscribe(server, target, filter={"label": ["kick"]})
            assert "p%40ss" not in created.model_dump_json()
            session = await server.running_session()
            before = await server.worker.starts(session.id, times_s(1, 20))
            async with asyncio.timeout(60):
                await until(lambda: client.xlen("cake:events") == len(before))
            redis.stop()
            meanwhile = await server.worker.starts(session.id, times_s(20, 60))
            failing = await until_state(server, created.id, "retrying")
            assert failing.last_error is not None
            redis.start()
            after = await server.worker.starts(session.id, times_s(60, 70))
            expected = [f"{session.id}_{event.id}" for event in (*before, *meanwhile, *after)]
            async with asyncio.timeout(60):
                await until(lambda: entries(client)[-1][b"id"].decode() == expected[-1])
            found = entries(client)
            assert list(dict.fromkeys(entry[b"id"].decode() for entry in found)) == expected
            first = found[0]
            assert (first[b"type"], first[b"source"].decode()) == (b"action.start", f"/v1/sessions/{session.id}")
            assert json.loads(first[b"data"])["label"] == "kick"
            await until_state(server, created.id, "active")
        client.close()


async def test_a_redis_with_tls_is_used_if_its_certificate_is_trusted(tmp_path: Path) -> None:
    certificate = certificate_for("DNS:localhost,IP:127.0.0.1", tmp_path)
    with redis_server(tmp_path, certificate=certificate) as redis, redis.client() as client:
        target = {"kind": "redis", "url": f"rediss://localhost:{redis.port}", "stream": "door", "max_entries": 1}
        trusting = {"source_ca": certificate, "source_allow": "127.0.0.0/8,::1/128"}
        for options, is_delivered in ((trusting, True), ({**trusting, "source_ca": None}, False)):
            async with running_server(tmp_path / f"data{is_delivered}", **options) as server:
                created = await subscribe(server, target)
                tested = (await server.http.post(f"/v1/subscriptions/{created.id}/test")).json()
            assert tested["delivered"] is is_delivered, tested
        [entry] = entries(client, "door")
        assert entry[b"type"] == b"subscription.test"


async def test_addresses_that_are_not_a_redis_are_rejected(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        for url in ("redis://", "redis://127.0.0.1/0/1", "redis://127.0.0.1/x", "redis://127.0.0.1?db=1", "valkey://a"):
            answer = await server.http.post("/v1/subscriptions", json={"target": {"kind": "redis", "url": url}})
            problem(answer, 422, "invalid_request")
        answer = await server.http.post(
            "/v1/subscriptions", json={"target": {"kind": "redis", "url": "redis://10.0.0.1"}}
        )
        problem(answer, 403, "webhook_forbidden")
