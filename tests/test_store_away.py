"""While the store is away sessions go on, and what they tell meanwhile is there when it is back."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from disturbed_place import assert_well_told
from redis_server import RedisServer, redis_server
from running_server import child_server, free_port, running_server
from session_kit import expected_actions, make_settings, store_of, submit, write_lively_video
from worker_kit import in_state, until, worker_here, worker_process

from model.detector import Detector
from service.errors import StoreUnavailable
from service.store.base import SessionRecord, Store


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may stop."""
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as server:
        yield server


async def has_come_to(store: Store, session: SessionRecord, position_s: float) -> bool:
    return (await store.get_session(session.id)).position_s >= position_s


@pytest.mark.parametrize("how", ["dies", "hangs"])
async def test_a_live_session_goes_on_while_redis_is_away(
    how: str, redis: RedisServer, tmp_path: Path, model: Path
) -> None:
    video = write_lively_video(tmp_path / "long.mp4", count=360)
    settings = make_settings(tmp_path / "data", model, store_url=redis.url)
    store = store_of(settings)
    async with worker_here(settings, store, model):
        session = await submit(store, settings, upload=video, pace="realtime")
        await until(store, lambda: has_come_to(store, session, 1.0))
        (redis.stop if how == "dies" else redis.pause)()
        away_at = datetime.now(UTC)
        await asyncio.sleep(5)
        back_at = datetime.now(UTC)
        (redis.start if how == "dies" else redis.resume)()
        await _until_back(store)
        await until(store, lambda: in_state(store, session.id, "completed"))
    record, events = await store.get_session(session.id), await store.read_events(session.id)
    assert_well_told(record, events, expected_actions(video, Detector.load(model)))
    meanwhile = [event for event in events if away_at < event.time < back_at]
    assert meanwhile[-1].decided_s - meanwhile[0].decided_s > 3
    assert not [event for event in events if event.type == "session.gap"]
    scores = await store.read_scores(session.id)
    assert len(scores) == record.frames
    await store.close()


async def _until_back(store: Store) -> None:
    while True:
        try:
            await store.has_keys()
            return
        except StoreUnavailable:
            await asyncio.sleep(0.1)


async def test_the_api_says_that_redis_is_away_and_goes_on_when_it_is_back(redis: RedisServer, tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", store_url=redis.url) as server:
        session = await server.submit()
        assert "cake_store_up 1.0" in (await server.http.get("/metrics")).text
        redis.stop()
        for path in ("/v1/sessions", f"/v1/sessions/{session.id}", "/v1/models", "/readyz"):
            answer = await asyncio.wait_for(server.http.get(path), timeout=8)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable"), path
            assert answer.headers["content-type"] == "application/problem+json"
            assert "Redis" in answer.json()["detail"]
        assert (await server.http.get("/livez")).status_code == 200
        assert "cake_store_up 0.0" in (await server.http.get("/metrics")).text
        redis.start()
        assert (await server.http.get(f"/v1/sessions/{session.id}")).status_code == 200


async def test_a_server_and_a_worker_wait_for_redis_to_come(redis: RedisServer, tmp_path: Path, model: Path) -> None:
    redis.stop()
    port = free_port()
    settings = make_settings(tmp_path / "data", model, store_url=redis.url, worker_port=port)
    environ = {"CAKE_STORE_URL": redis.url}
    async with (
        child_server(tmp_path / "server", environ=environ) as server,
        worker_process(settings, "w1") as worker,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        assert (await http.get("/readyz")).json()["code"] == "store_unavailable"
        assert await _answer_once_there(http, f"http://127.0.0.1:{port}/readyz") == 503
        redis.start()
        await server.ready("/readyz")
        assert (await http.get("/v1/models")).json()["models"][0]["name"] == "tiny"
        assert worker.returncode is None


async def _answer_once_there(http: httpx.AsyncClient, url: str) -> int:
    while True:
        with suppress(httpx.TransportError):
            return (await http.get(url)).status_code
        await asyncio.sleep(0.05)
