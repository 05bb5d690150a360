"""Sentinels that do not know of a failover yet, and the consequences."""

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from service.errors import StoreUnavailableError
from service.store import open_store
from service.store.redis.connect import connect
from tests.support.redis_server import replicated_redis
from tests.support.store_kit import record

pytestmark = pytest.mark.slow


async def test_the_newest_configuration_that_a_sentinel_knows_counts(tmp_path: Path) -> None:
    for name in ("stale", "current"):
        (tmp_path / name).mkdir()
    # Two that do not know each other, so that the first one stays behind.
    with replicated_redis(tmp_path / "stale") as stale, replicated_redis(tmp_path / "current") as current:
        before = current.primary_port()
        await asyncio.to_thread(current.fail_over)
        async with asyncio.timeout(300):
            while await asyncio.to_thread(current.primary_port) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        ports = [one.sentinels[0].port for one in (stale, current)]
        connected = connect(f"redis+sentinel://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/main")
        assert isinstance(connected.client, Redis)
        assert (await connected.client.info("server"))["tcp_port"] == current.servers[1].port
        await connected.aclose()


async def test_a_primary_acknowledges_nothing_once_its_replica_was_promoted(tmp_path: Path) -> None:
    with replicated_redis(tmp_path, down_after_s=3600) as redis:
        with redis.servers[1].client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        # The Sentinel does not learn of it.
        redis.servers[1].pause()
        store = open_store(redis.url)
        with pytest.raises(StoreUnavailableError, match="replicas"):
            await store.sessions.create(record(), max_queued=10, may_wait=True)
        await store.close()
