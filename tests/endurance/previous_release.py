"""The previous release runs at the same time as this one, and before and after it in one data folder."""

import asyncio
import json
import sqlite3
import time
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import av
import httpx
import pytest

from model.detector import Detector
from service.event_schemas import Event, EventPage, event_key
from service.schemas import ENDED_STATES
from service.store.worker_records import LEASE_S
from tests.support.previous_release import PreviousRelease, forget_new_fields, unpack_previous_release
from tests.support.push_kit import pushing
from tests.support.running_server import until
from tests.support.session_kit import actions, expected_actions
from tests.support.tiny_model import checkpoint_for
from tests.support.webhook_receiver import receiving

PREVIOUS_DECODES = int(av.__version__.split(".")[0]) < 19
"""Version 0.1 analyses nothing with PyAV 19."""


@pytest.fixture(scope="module")
def older_model(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that both releases can load."""
    checkpoint = checkpoint_for(video, tmp_path_factory.mktemp("older"), framing="centre_crop")
    forget_new_fields(checkpoint)
    return checkpoint


@pytest.fixture
def previous(older_model: Path, tmp_path: Path) -> PreviousRelease:
    return unpack_previous_release(
        tmp_path / "release", older_model, WORKER_CAPACITY_STEPS_PER_S="200", SOURCE_ALLOW="127.0.0.0/8"
    )


async def upload(client: httpx.AsyncClient, video: Path, **options: object) -> str:
    content = await asyncio.to_thread(video.read_bytes)
    files = {"file": content, "session": (None, json.dumps(options), "application/json")}
    answer = await client.post("/v1/sessions", files=files)  # type: ignore[arg-type]
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def submit_push(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/sessions", json={"source": {"push": True}, "pace": "fast"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def push(client: httpx.AsyncClient, session_id: str, content: bytes) -> None:
    """Once a worker takes it: older servers refuse a stream until then."""
    session = (await client.get(f"/v1/sessions/{session_id}")).json()
    path = session["links"].get("stream") or session["links"]["ingest"]
    while (answer := await client.put(path, content=content)).status_code == 503:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    assert answer.status_code == 202, answer.text


async def events(client: httpx.AsyncClient, session_id: str) -> list[Event]:
    """To the end of the session."""
    found: list[Event] = []
    while not (found and found[-1].type == "session.state" and found[-1].state in ENDED_STATES):
        after = f"after={found[-1].id}&" if found else ""
        answer = await client.get(f"/v1/sessions/{session_id}/events?{after}wait_s=5")
        assert answer.status_code == 200, answer.text
        found += EventPage.model_validate_json(answer.content).events
    return found


async def test_servers_and_workers_of_two_releases_share_a_redis(
    previous: PreviousRelease, older_model: Path, redis_url: str, stream: bytes, video: Path, tmp_path: Path
) -> None:
    previous = PreviousRelease(previous.folder, {**previous.environ, "CAKE_STORE_URL": redis_url})
    expected = expected_actions(video, Detector.load(older_model))
    async with (
        asyncio.timeout(600),
        pushing(tmp_path, older_model, store_url=redis_url) as this,
        previous.server(tmp_path / "previous-server") as previous_server,
    ):
        servers = (previous_server, this.server.http)
        await this.server.worker.release()
        async with this.worker():
            analysed_here = await submit_push(previous_server)
            await push(previous_server, analysed_here, stream)
            assert actions(await events(previous_server, analysed_here)) == expected
        if PREVIOUS_DECODES:
            async with previous.worker(tmp_path / "previous-worker") as worker:
                analysed_there = await submit_push_once_ready(this.server.http, worker)
                await push(this.server.http, analysed_there, stream)
                assert actions(await events(this.server.http, analysed_there)) == expected
                analysed_here = analysed_there
        for server in servers:
            listed = (await server.get("/v1/sessions")).json()["sessions"]
            assert [session["state"] for session in listed] == ["completed"] * len(listed)
            assert actions(await events(server, analysed_here)) == expected


async def submit_push_once_ready(client: httpx.AsyncClient, worker: Process) -> str:
    while (await client.get("/readyz")).status_code != 200:
        assert worker.returncode is None, "the worker has ended; see its log"
        await asyncio.sleep(0.05)
    return await submit_push(client)


@contextmanager
def announced_worker(data_dir: Path) -> Iterator[None]:
    """Let the server believe that a worker runs, for the length of a lease: it accepts sessions, which wait."""
    model = {"name": "tiny", "version": "1", "labels": ["kick", "punch"], "sample_hz": 10, "image_size": 32}
    row = ("absent", 100.0, json.dumps([model]), time.monotonic() + LEASE_S, "null")
    path = data_dir / "cake.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO workers (id, capacity, models, lease_until, push) VALUES (?, ?, ?, ?, ?)", row)
    yield
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM workers")


async def test_a_data_folder_is_upgraded_downgraded_and_upgraded_again(
    previous: PreviousRelease, older_model: Path, video: Path, tmp_path: Path
) -> None:
    expected = expected_actions(video, Detector.load(older_model))
    data_dir = tmp_path / "data"
    with receiving() as (url, receiver):
        async with asyncio.timeout(600), previous.server(data_dir) as server:
            with announced_worker(data_dir):
                first = await upload(server, video, webhook={"url": url})
        async with asyncio.timeout(600), pushing(tmp_path, older_model) as this, this.worker():
            assert actions(await events(this.server.http, first)) == expected
            await until(receiver.has_ended)
        async with asyncio.timeout(600), previous.server(data_dir) as server:
            assert actions(await events(server, first)) == expected
            assert (await server.get(f"/v1/sessions/{first}/scores")).json()["scores"] != []
            with announced_worker(data_dir):
                second = await upload(server, video)
            assert (await server.delete(f"/v1/sessions/{first}")).status_code == 204
        async with asyncio.timeout(600), pushing(tmp_path, older_model) as this, this.worker():
            assert actions(await events(this.server.http, second)) == expected
            assert (await this.server.http.get(f"/v1/sessions/{first}")).status_code == 404
    # A server that is stopped while it delivers an event delivers it again.
    assert list(dict.fromkeys(receiver.ids)) == sorted(set(receiver.ids), key=event_key)
