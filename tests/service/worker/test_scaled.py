"""Servers and workers of many machines around one Redis and one bucket."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from service.event_schemas import Event, event_key
from tests.support.deployment import Deployment, WorkerProcess, deployment
from tests.support.session_kit import Reported, actions, expected_actions, states, write_lively_video
from tests.support.tiny_model import load

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, model: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path_factory.mktemp("deployment"), model, workers=2) as ready:
        yield ready


@pytest_asyncio.fixture(loop_scope="module")
async def deployed(shared: Deployment) -> Deployment:
    """Two servers and two idle workers, whatever tests before did to them."""
    async with asyncio.timeout(180):
        await shared.replace_ended_workers()
        while not all(["cake_worker_sessions 0.0" in await worker.metrics() for worker in shared.workers]):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return shared


@pytest.fixture(scope="session")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lively_video(tmp_path_factory.mktemp("long") / "v.mp4", count=360)


@pytest.fixture(scope="session")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lively_video(tmp_path_factory.mktemp("minute") / "v.mp4", count=1800)


@pytest.fixture(scope="session")
def long_expected(long_video: Path, model: Path) -> list[Reported]:
    return expected_actions(long_video, load(model))


def assert_each_once(events: list[Event]) -> None:
    keys = [event_key(event.id) for event in events]
    assert keys == sorted(set(keys))


async def busy_worker(deployed: Deployment) -> WorkerProcess:
    """The one that has the only session."""
    (busy,) = [worker for worker in deployed.workers if "cake_worker_sessions 1.0" in await worker.metrics()]
    return busy


async def followed(deployed: Deployment, session_id: str, *, server: int) -> list[Event]:
    return [event async for event in deployed.follow(session_id, server=server)]


async def test_any_server_serves_sessions_of_any_server_and_worker(
    deployed: Deployment, video: Path, expected: list[Reported]
) -> None:
    session = await deployed.upload(video, server=0)
    events = await followed(deployed, session.id, server=1)
    assert_each_once(events)
    assert actions(events) == expected
    assert states(events) == ["queued", "starting", "running", "completed"]
    async with httpx.AsyncClient(base_url=deployed.servers[1].url, timeout=120) as http:
        image = await http.get(session.links.snapshot)
        assert image.content.startswith(b"\xff\xd8")
        assert (await http.delete(session.links.self)).status_code == 204
    async with httpx.AsyncClient(base_url=deployed.servers[0].url, timeout=120) as http:
        assert (await http.get(session.links.self)).status_code == 404
        assert (await http.get(session.links.snapshot)).status_code == 404


async def test_snapshots_are_frequent_while_a_client_watches_a_session(deployed: Deployment, minute: Path) -> None:
    session = await deployed.upload(minute, pace="realtime")
    shown = b""
    changed_at_s: list[float] = []
    async with httpx.AsyncClient(base_url=deployed.servers[1].url, timeout=120) as http, asyncio.timeout(120):
        # Of a session that is not watched, or for whose frames there is too little time, there is one in five seconds.
        while len(changed_at_s) < 3 or changed_at_s[-1] - changed_at_s[-2] > 2.5:
            answer = await http.get(session.links.snapshot)
            if answer.status_code == httpx.codes.OK and answer.content != shown:
                shown = answer.content
                changed_at_s.append((await deployed.session(session.id, server=1)).position_s)
            await asyncio.sleep(0.1)
        assert (await http.delete(session.links.self)).status_code == 202


async def test_another_worker_continues_a_killed_workers_sessions_and_repeats_no_event(
    deployed: Deployment, long_video: Path, long_expected: list[Reported]
) -> None:
    session = await deployed.upload(long_video, pace="realtime")
    events: list[Event] = []
    is_killed = False
    async for event in deployed.follow(session.id, server=1):
        events.append(event)
        if event.type == "action.start" and not is_killed:
            is_killed = True
            (await busy_worker(deployed)).kill()
        elif is_killed and len(events) > 5:
            break
    events += [event async for event in deployed.follow(session.id, server=0, after=events[-1].id)]
    assert_each_once(events)
    assert actions(events) == long_expected
    assert sum(worker.process.returncode is None for worker in deployed.workers) == 1


async def test_a_worker_that_is_stopped_hands_its_sessions_over(
    deployed: Deployment, long_video: Path, long_expected: list[Reported]
) -> None:
    session = await deployed.upload(long_video, pace="realtime")
    events: list[Event] = []
    is_drained = False
    async for event in deployed.follow(session.id):
        events.append(event)
        if event.type == "action.start" and not is_drained:
            is_drained = True
            # The kernel would have killed a worker that does not hand over in time.
            assert await (await busy_worker(deployed)).drain() == 0
    assert_each_once(events)
    assert actions(events) == long_expected


async def test_a_stop_reaches_the_worker(deployed: Deployment, long_video: Path) -> None:
    session = await deployed.upload(long_video, pace="realtime")
    async for event in deployed.follow(session.id, server=1):
        if event.type == "session.state" and event.state == "running":
            async with httpx.AsyncClient(base_url=deployed.servers[1].url, timeout=120) as http:
                await http.delete(session.links.self)
    assert event.type == "session.state"
    assert event.state == "stopped"


async def test_a_stream_that_is_pushed_to_any_server_reaches_the_worker(
    deployed: Deployment, stream: bytes, expected: list[Reported]
) -> None:
    async with httpx.AsyncClient(base_url=deployed.servers[0].url, timeout=120) as http:
        answer = await http.post("/v1/sessions", json={"source": {"push": True}})
        session_id = answer.json()["id"]
    following = asyncio.create_task(followed(deployed, session_id, server=0))
    while (await deployed.session(session_id)).state == "queued":  # noqa: ASYNC110 - as a client would ask
        await asyncio.sleep(0.1)
    async with httpx.AsyncClient(base_url=deployed.servers[1].url, timeout=120) as http:
        assert (await http.put(f"/v1/sessions/{session_id}/stream", content=stream)).status_code == 202
    assert actions(await following) == expected


async def test_servers_are_ready_without_workers_for_those_who_read_and_say_so_to_others(
    tmp_path: Path, model: Path
) -> None:
    async with (
        deployment(tmp_path, model, servers=1, workers=0) as deployed,
        httpx.AsyncClient(base_url=deployed.servers[0].url, timeout=120) as http,
    ):
        assert (await http.get("/readyz/store")).status_code == 200
        assert (await http.get("/readyz")).json()["code"] == "not_ready"
        deployed.redis.stop()
        assert (await http.get("/readyz/store")).json()["code"] == "store_unavailable"


async def test_sessions_beyond_the_capacity_wait_where_more_workers_can_come(
    tmp_path: Path, model: Path, minute: Path
) -> None:
    settings = {"QUEUE_BEYOND_CAPACITY": "true", "WORKER_CAPACITY_STEPS_PER_S": "12"}
    async with deployment(tmp_path, model, servers=1, workers=1, settings=settings) as deployed:
        first, second = [await deployed.upload(minute, pace="realtime") for _ in range(2)]
        await deployed.start_worker()
        async for event in deployed.follow(second.id):
            if event.type == "session.state" and event.state == "running":
                break
        assert (await deployed.session(first.id)).state == "running"


async def test_a_worker_says_what_confines_its_decoders(deployed: Deployment) -> None:
    worker = deployed.workers[0]
    async with httpx.AsyncClient(base_url=worker.url, timeout=120) as http:
        ready = (await http.get("/readyz")).json()
    assert ready == {"status": "ok", "confinement": {"seccomp": True, "landlock": True}}
    assert 'cake_confinement{mechanism="landlock"} 1.0' in await worker.metrics()
