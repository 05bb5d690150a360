"""The default model, models that no worker has any longer, and models that cannot be loaded."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import ValidationError

from service.api.server import Server
from service.api.unserved import UnservedSessions
from service.background import background_task
from service.listening import listen
from service.server_schemas import ModelInfo
from service.settings import Settings
from service.store.worker_records import WorkerInfo
from tests.support.running_server import MODEL, Running, running_server

OTHER = ModelInfo(name="kitchen", version="1", labels=["chop"], sample_hz=10, image_size=96)
GRACE_S = 600.0


@pytest_asyncio.fixture(params=["sqlite", "redis"])
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    store = {"store_url": request.getfixturevalue("redis_url")} if request.param == "redis" else {}
    async with running_server(tmp_path / "data", **store) as running:
        yield running


async def has_models(server: Running, *models: ModelInfo) -> None:
    await server.worker.store.workers.register(WorkerInfo(server.worker.id, 100.0, models))


# The default model


async def test_a_session_without_a_model_gets_one_that_exists(server: Running) -> None:
    await has_models(server, OTHER)
    assert (await server.http.get("/v1/models")).json()["default"] == "kitchen"
    assert (await server.submit()).model == "kitchen"
    await has_models(server, OTHER, MODEL, MODEL.model_copy(update={"name": "people"}))
    assert (await server.submit()).model == "people"


async def test_the_first_model_that_is_set_is_the_default(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", models="/srv/models/kitchen,mocap") as server:
        await has_models(server, MODEL, OTHER)
        assert (await server.submit()).model == "kitchen"
    async with running_server(tmp_path / "other", models="kitchen,mocap", default_model="mocap") as server:
        await has_models(server, MODEL, OTHER)
        assert (await server.submit()).model == "mocap"


def test_a_default_model_that_is_not_loaded_is_rejected_at_start() -> None:
    with pytest.raises(ValidationError, match="CAKE_DEFAULT_MODEL=mocap is not one of CAKE_MODELS=kitchen"):
        Settings.model_validate({"models": "kitchen", "default_model": "mocap"})


# Models that no worker has any more


async def test_sessions_whose_model_was_removed_fail_after_a_grace_period(server: Running) -> None:
    await has_models(server, MODEL, OTHER)
    queued = await server.submit(model="kitchen")
    served = await server.submit(model="mocap")
    running = await server.submit(model="kitchen", pace="realtime")
    record = await server.worker.claim()
    assert record.id == running.id
    await server.worker.enter(record.id, "running")
    store = server.worker.store
    await server.worker.release()
    unserved = UnservedSessions(store, grace_s=GRACE_S)
    await unserved.check(0.0)
    await unserved.check(GRACE_S)
    shown = (await server.http.get("/v1/sessions")).json()["sessions"]
    assert "failed" not in [session["state"] for session in shown], "without workers none fails"
    await has_models(server, MODEL)
    await unserved.check(2 * GRACE_S)
    await unserved.check(3 * GRACE_S - 1)
    assert (await server.http.get(queued.links.self)).json()["state"] == "queued"
    await unserved.check(3 * GRACE_S)
    for session in (queued, running):
        ended = (await server.http.get(session.links.self)).json()
        assert (ended["state"], ended["code"]) == ("failed", "model_unavailable")
        assert "kitchen" in ended["detail"]
        last = (await server.http.get(session.links.events)).json()["events"][-1]
        assert (last["type"], last["state"]) == ("session.state", "failed")
    assert (await server.http.get(served.links.self)).json()["state"] == "queued"
    assert [worker.id for worker in await store.workers.live()] == [server.worker.id]


async def test_a_model_that_returns_in_time_keeps_its_sessions(server: Running) -> None:
    await has_models(server, OTHER)
    session = await server.submit()
    unserved = UnservedSessions(server.worker.store, grace_s=GRACE_S)
    await has_models(server, MODEL)
    await unserved.check(0.0)
    await has_models(server, OTHER)
    await unserved.check(GRACE_S - 1)
    await has_models(server, MODEL)
    await unserved.check(GRACE_S)
    assert (await server.http.get(session.links.self)).json()["state"] == "queued"
    assert datetime.now(UTC) > session.created_at


# Models that cannot be loaded


async def test_a_worker_that_cannot_start_with_its_settings_ends_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.embedded_worker.WORKER_COMMAND", (sys.executable, "-c", "raise SystemExit(2)"))
    server = Server(Settings.model_validate({"data_dir": tmp_path / "data", "workers": 1}))
    with listen("127.0.0.1", 0) as listener:
        await server.serve(sockets=[listener])
    assert server.failed


async def test_a_server_that_is_stopped_before_it_is_ready_no_longer_asks_its_closed_store_for_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.server.READY_POLL_S", 0.0)
    server = Server(Settings.model_validate({"data_dir": tmp_path / "data", "workers": 0}))

    async def accompany() -> None:
        await server.until_started()
        asyncio.get_running_loop().call_soon(setattr, server, "should_exit", True)
        await server.until_ready()

    with listen("127.0.0.1", 0) as listener:
        async with background_task(accompany()) as companion:
            await server.serve(sockets=[listener], companion=companion)
    assert companion.cancelled()
