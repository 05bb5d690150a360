"""Sessions keep running during a store outage, and their events are committed when it ends."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from service.api.store_answers import StoreAnswers
from service.errors import NotReadyError, StoreLateError, StoreUnavailableError
from service.observability.telemetry import WorkerMetrics
from service.store import open_store
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.worker_records import WorkerInfo
from tests.support.delaying_proxy import delaying_proxy
from tests.support.disturbed_place import assert_well_reported
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running_server import child_server, free_port, running_server
from tests.support.session_kit import expected_actions, make_settings, store_of, submit, write_lively_video
from tests.support.tiny_model import load
from tests.support.worker_kit import in_state, until, worker_here, worker_process

pytestmark = pytest.mark.slow


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may stop."""
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as server:
        yield server


async def has_reached(store: Store, session: SessionRecord, position_s: float) -> bool:
    return (await store.sessions.get(session.id)).position_s >= position_s


@pytest.mark.parametrize("how", ["dies", "hangs"])
async def test_a_live_session_keeps_running_during_a_redis_outage(
    how: str, redis: RedisServer, tmp_path: Path, model: Path
) -> None:
    video = write_lively_video(tmp_path / "long.mp4", count=300)
    settings = make_settings(tmp_path / "data", model, store_url=redis.url)
    store = store_of(settings)
    async with asyncio.timeout(300), worker_here(settings, store, model) as metrics:
        session = await submit(store, settings, upload=video, pace="realtime")
        await until(store, lambda: has_reached(store, session, 1.0))
        (redis.stop if how == "dies" else redis.pause)()
        away_at = datetime.now(UTC)
        enough = analysed_frames(metrics) + 40
        while analysed_frames(metrics) < enough:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        back_at = datetime.now(UTC)
        (redis.start if how == "dies" else redis.resume)()
        await _until_reachable(store)
        await until(store, lambda: in_state(store, session.id, "completed"))
    record, events = await store.sessions.get(session.id), await store.log.read_events(session.id)
    assert_well_reported(record, events, expected_actions(video, load(model)))
    meanwhile = [event for event in events if away_at < event.time < back_at]
    assert meanwhile[-1].decided_s - meanwhile[0].decided_s > 2
    assert not [event for event in events if event.type == "session.gap"]
    scores = await store.log.read_scores(session.id)
    assert len(scores) == record.frames
    await store.close()


def analysed_frames(metrics: WorkerMetrics) -> float:
    """Committed or not."""
    [metric] = metrics.decode_seconds.collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_count"))


async def _until_reachable(store: Store) -> None:
    while True:
        try:
            await store.keys.exist()
            return
        except StoreUnavailableError:
            await asyncio.sleep(0.1)


async def test_the_api_reports_a_redis_outage_and_recovers(redis: RedisServer, tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", store_url=redis.url) as server:
        session = await server.submit()
        assert "cake_store_up 1.0" in (await server.http.get("/metrics")).text
        redis.stop()
        for path in ("/v1/sessions", f"/v1/sessions/{session.id}", "/v1/models", "/readyz"):
            answer = await asyncio.wait_for(server.http.get(path), timeout=60)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable"), path
            assert answer.headers["content-type"] == "application/problem+json"
            assert "Redis" in answer.json()["detail"]
        assert (await server.http.get("/livez")).status_code == 200
        assert "cake_store_up 0.0" in (await server.http.get("/metrics")).text
        redis.start()
        assert (await server.http.get(f"/v1/sessions/{session.id}")).status_code == 200


async def test_a_server_and_a_worker_wait_for_redis_to_start(redis: RedisServer, tmp_path: Path, model: Path) -> None:
    redis.stop()
    port = free_port()
    settings = make_settings(tmp_path / "data", model, store_url=redis.url, worker_port=port)
    environ = {"CAKE_STORE_URL": redis.url}
    async with (
        child_server(tmp_path / "server", environ=environ) as server,
        worker_process(settings, "w1") as worker,
        httpx.AsyncClient(base_url=server.url, timeout=120) as http,
    ):
        assert (await http.get("/readyz")).json()["code"] == "store_unavailable"
        assert await _first_status(http, f"http://127.0.0.1:{port}/readyz") == 503
        redis.start()
        await server.ready("/readyz")
        assert (await http.get("/v1/models")).json()["models"][0]["name"] == "tiny"
        assert worker.returncode is None


async def _first_status(http: httpx.AsyncClient, url: str) -> int:
    while True:
        with suppress(httpx.TransportError):
            return (await http.get(url)).status_code
        await asyncio.sleep(0.05)


async def test_a_server_stays_ready_while_every_answer_of_redis_is_late(redis: RedisServer, tmp_path: Path) -> None:
    """All servers would fail their health checks at the same moment. New connections take several answers."""
    async with delaying_proxy(redis.port) as proxy:
        store_url = f"redis://127.0.0.1:{proxy.port}/0"
        async with running_server(tmp_path / "data", store_url=store_url, auth="off") as server:
            proxy.delay_s = 0.7
            for _ in range(2):
                assert (await server.http.get("/readyz/store")).status_code == 200
                assert "\ncake_store_up 1.0\n" in (await server.http.get("/metrics")).text
                with redis.client() as client:
                    client.client_kill_filter(_type="normal", skipme=True)
            proxy.delay_s = 0.0


async def test_a_server_that_redis_answered_recently_stays_ready_while_answers_take_seconds(
    redis: RedisServer, tmp_path: Path
) -> None:
    """New connections, which take several answers, then take longer than a probe waits."""
    async with delaying_proxy(redis.port) as proxy:
        store_url = f"redis://127.0.0.1:{proxy.port}/0"
        async with running_server(tmp_path / "data", store_url=store_url, auth="off") as server:
            assert (await server.http.get("/readyz/store")).json() == {"status": "ok", "store": "ok"}
            proxy.delay_s = 2.0
            with redis.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)
            for path in ("/readyz/store", "/readyz"):
                answer = await server.http.get(path)
                assert (answer.status_code, answer.json()["store"]) == (200, "late"), path
            proxy.delay_s = 0.0


async def test_a_store_that_hangs_ends_readiness_once_its_last_answer_is_old(
    redis: RedisServer, tmp_path: Path
) -> None:
    store = open_store(redis.url)
    await store.workers.register(WorkerInfo("w1", 1.0, ()))
    now_s = 0.0
    answers = StoreAnswers(store.workers, clock=lambda: now_s)
    assert (await answers.get()).is_late is False
    redis.pause()
    now_s = 19.0
    late = await answers.get()
    assert ([worker.id for worker in late.workers], late.is_late) == (["w1"], True)
    now_s = 31.0
    with pytest.raises((NotReadyError, StoreLateError)):
        await answers.get()
    redis.resume()
    await answers.close()
    await store.close()
