"""The sample that `cake serve` plays in a loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.cli.sample import KEPT_RUNS, play_sample
from service.schemas import Session, SessionPage
from tests.support.access_kit import bearer, make_key
from tests.support.running_server import MODEL, Running, running_server


@asynccontextmanager
async def playing(server: Running, sample: Path) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(play_sample(server.url, sample, server.own_key))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", default_model=MODEL.name) as running:
        yield running


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "s.mp4"
    path.write_bytes(b"the stand-in for the worker never looks inside")
    return path


async def claimed(server: Running) -> str:
    """The id of the next session that waits, once there is one."""
    while True:
        record = await server.worker.store.workers.claim(server.worker.id)
        if record is not None:
            server.worker.records[record.id] = record
            return record.id
        await asyncio.sleep(0.01)


async def sessions(server: Running) -> list[Session]:
    return SessionPage.model_validate_json((await server.http.get("/v1/sessions")).content).sessions


async def shown(server: Running, count: int) -> list[str]:
    """The ids of all sessions, newest first, once there are so many."""
    while True:
        ids = [session.id for session in await sessions(server)]
        if len(ids) == count:
            return ids
        await asyncio.sleep(0.01)


async def test_one_sample_session_runs_at_a_time_and_the_last_ended_ones_and_those_with_feedback_are_kept(
    server: Running, sample: Path
) -> None:
    played: list[str] = []

    async def play(count: int) -> None:
        for _ in range(count):
            await server.worker.enter(played[-1], "completed")
            played.append(await claimed(server))
            assert await server.worker.store.workers.claim(server.worker.id) is None
            await server.worker.enter(played[-1], "running")

    async with playing(server, sample):
        played.append(await claimed(server))
        await play(2)
    answer = await server.http.post(f"/v1/sessions/{played[0]}/feedback", json={"label": "kick", "start_s": 1})
    assert answer.is_success, answer.text
    async with playing(server, sample):
        await play(KEPT_RUNS)
        assert await shown(server, KEPT_RUNS + 2) == [*reversed(played[2:]), played[0]]
        newest, before, *_ = await sessions(server)
        assert (newest.name, before.name) == ("Sample: s.mp4, run 13", "Sample: s.mp4, run 12")


async def test_an_unfinished_sample_of_an_earlier_server_is_resumed_first(server: Running, sample: Path) -> None:
    async with playing(server, sample):
        left = await claimed(server)
    async with playing(server, sample):
        await server.worker.enter(left, "completed")
        assert await claimed(server) != left


async def test_a_sample_that_a_user_stopped_stays_stopped(server: Running, sample: Path) -> None:
    async with playing(server, sample) as task:
        session_id = await claimed(server)
        await server.worker.enter(session_id, "stopped")
        await task
        assert [session.id for session in await sessions(server)] == [session_id]


async def test_the_sample_plays_on_a_server_that_requires_keys(server: Running, sample: Path) -> None:
    key = await make_key(server, "sessions:read")
    async with playing(server, sample):
        await server.worker.enter(await claimed(server), "completed")
        await claimed(server)
        answer = await server.http.get("/v1/sessions", headers=bearer(key))
        assert answer.json()["sessions"] == []


async def test_other_sessions_are_not_touched(server: Running, sample: Path) -> None:
    other = await server.submit(name="mine")
    await server.worker.claim()
    await server.worker.enter(other.id, "completed")
    async with playing(server, sample):
        for _ in range(2):
            await server.worker.enter(await claimed(server), "completed")
        await claimed(server)
        assert other.id in {session.id for session in await sessions(server)}
