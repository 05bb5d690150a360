"""A row of a shape that this version does not know concerns its own session, webhook or key, and no other."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from service.access.keys import new_key
from service.access.scopes import Scope
from service.access.sight import Sight
from service.store.reading import Reader, parse_event, parse_session, parse_worker, read_stored_key
from service.store.webhook_records import StoredWebhook
from service.store.worker_records import WorkerInfo
from tests.support.access_kit import LIMITS
from tests.support.other_version import Backend
from tests.support.redis_server import RedisServer
from tests.support.store_kit import MODEL, Clock, claimed, open_redis, open_sqlite, queue, record, with_worker


@pytest.mark.parametrize("parse", [parse_session, parse_event, parse_worker])
def test_json_that_is_nested_too_deep_is_skipped(parse: Any) -> None:
    assert Reader().read("row", "1", lambda: parse("[" * 100_000)) is None


@pytest.mark.parametrize("metadata", [{"site": ["north"]}, ["site"], {"site": 3}, "site"])
async def test_metadata_that_cannot_be_read_hide_the_session_from_those_limited_by_metadata(
    backend: Backend, clock: Clock, metadata: object
) -> None:
    async with with_worker(backend.open(clock)) as store:
        sound, bad = [await queue(store, record().model_copy(update={"metadata": {"site": "north"}})) for _ in "12"]
        backend.change_session(bad.id, {"metadata": metadata})
        page = await store.log.read(after="0", sight=Sight.of_metadata({"site": ["north"]}))
        assert [entry.event.session_id for entry in page.entries] == [sound.id]


async def test_a_revision_that_cannot_be_read_keeps_no_other_session_from_being_stopped(
    backend: Backend, clock: Clock
) -> None:
    async with with_worker(backend.open(clock)) as store:
        bad, other = await claimed(store), await claimed(store)
        backend.change_session(bad.id, {"revision": "second"})
        await store.sessions.request_stop(other.id)
        assert other.id in (await store.workers.renew("w1")).stop_requested


async def test_a_session_whose_place_in_the_queue_cannot_be_read_keeps_no_other_from_being_claimed(
    redis_url: str, shared_redis: RedisServer, clock: Clock
) -> None:
    async with with_worker(open_redis(redis_url, clock)) as store:
        bad, other = await queue(store), await queue(store)
        with shared_redis.client() as client:
            client.hset(f"{{cake}}:session:{bad.id}", "_entry", "first")
            client.zadd("{cake}:orphans", {bad.id: 1})
        found = await store.workers.claim("w1")
        assert found is not None
        assert found.id == other.id


@pytest.mark.parametrize("name", ["_entry", "_n", "_pace"])
async def test_a_worker_whose_session_has_no_readable_place_in_a_queue_can_be_released(
    redis_url: str, shared_redis: RedisServer, clock: Clock, name: str
) -> None:
    async with with_worker(open_redis(redis_url, clock)) as store:
        bad, other = await claimed(store), await claimed(store)
        with shared_redis.client() as client:
            client.hset(f"{{cake}}:session:{bad.id}", name, "first")
        await store.workers.release("w1")
        await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
        found = await store.workers.claim("w2")
        assert found is not None
        assert found.id == other.id


def test_a_key_whose_expiry_names_no_time_zone_is_not_read() -> None:
    """It could not be compared, and no other key that has expired would be revoked."""
    key = new_key("a", [Scope.ADMIN], LIMITS, created_at=datetime.now(UTC))[1]
    stored = json.dumps({**json.loads(key.model_dump_json()), "expires_at": "2026-01-01T00:00:00"})
    assert Reader().read("key", key.id, lambda: read_stored_key(stored)) is None


@pytest.mark.parametrize("column", ["attempts", "failing_since", "old_secret_until"])
async def test_a_webhook_with_a_number_that_cannot_be_read_is_set_aside(
    tmp_path: Path, clock: Clock, column: str
) -> None:
    """Otherwise its failures could not be noted, and it would be due again at once."""
    async with with_worker(open_sqlite(tmp_path, clock)) as store:
        target = StoredWebhook(url=SecretStr("http://example.org/hook"), secret=SecretStr("whsec_x"))
        await queue(store, record().model_copy(update={"webhook": target}))
        with sqlite3.connect(tmp_path / "cake.db") as db:
            db.execute(f"UPDATE webhooks SET {column} = 'soon'")
        assert await store.outbox.due(now_unix_s=1e9, limit=9) == []
        with sqlite3.connect(tmp_path / "cake.db") as db:
            assert db.execute("SELECT try_at > 1e9 FROM webhooks").fetchall() == [(1,)]
