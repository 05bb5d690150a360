"""A worker loads and unloads uploaded models while it runs sessions, and reports those that it cannot load."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model.detector import Detector
from service.settings import Settings
from service.storage.blobs import Blobs
from service.store.protocols import Store
from service.store.worker_records import WorkerInfo
from tests.support.live_servers import http_camera
from tests.support.model_kit import store_model, version_of
from tests.support.other_version import Backend
from tests.support.session_kit import a_worker, make_settings, store_of, submit, write_lively_video
from tests.support.worker_kit import in_state, until, worker_here


@dataclass(frozen=True)
class Place:
    settings: Settings
    store: Store
    blobs: Blobs

    async def worker(self) -> WorkerInfo:
        [worker] = await self.store.workers.live()
        return worker

    async def loaded(self, *keys: str) -> None:
        """Return once these are the models of the worker, besides the configured one."""

        async def is_so() -> bool:
            return {model.name for model in (await self.worker()).models} == {"tiny", *keys}

        await until(self.store, is_so)

    async def failed(self, key: str) -> str:
        async def is_so() -> bool:
            return key in (await self.worker()).model_failures

        await until(self.store, is_so)
        return (await self.worker()).model_failures[key]


@pytest.fixture(params=["sqlite", "redis"])
async def place(request: pytest.FixtureRequest, tmp_path: Path, model: Path) -> AsyncIterator[Place]:
    chosen = {"store_url": request.getfixturevalue("redis_url")} if request.param == "redis" else {}
    settings = make_settings(tmp_path / "data", model, **chosen)
    store = store_of(settings)
    try:
        yield Place(settings, store, Blobs(settings.blob_url, settings.data_dir))
    finally:
        await store.close()


async def test_models_come_and_go_while_a_session_runs(place: Place, model: Path, video: Path) -> None:
    async with worker_here(place.settings, place.store, model):
        running = await submit(place.store, place.settings, upload=video, pace="realtime")
        await until(place.store, lambda: in_state(place.store, running.id, "running"))
        first = await store_model(place.store, place.blobs.models, version_of(model), uploaded_at=datetime.now(UTC))
        await place.loaded(first.key)
        [_, offered] = (await place.worker()).models
        assert (offered.origin, offered.version) == ("uploaded", first.info.version)
        await place.store.models.delete([first.key])
        await place.loaded()
        await until(place.store, lambda: in_state(place.store, running.id, "completed"))


async def test_a_change_that_the_worker_cannot_read_keeps_it_from_nothing_else(tmp_path: Path, model: Path) -> None:
    settings = make_settings(tmp_path / "data", model)
    store = store_of(settings)
    place = Place(settings, store, Blobs(None, settings.data_dir))
    async with worker_here(settings, store, model):
        with http_camera() as url:
            camera = await submit(store, settings, url=url)
            await until(store, lambda: in_state(store, camera.id, "running"))
            newer = {"revision": 1, "source": {"kind": "satellite"}}
            Backend("sqlite", settings.data_dir, None).change_session(camera.id, newer)
            stored = await store_model(store, place.blobs.models, version_of(model), uploaded_at=datetime.now(UTC))
            async with asyncio.timeout(60):
                await place.loaded(stored.key)
    await store.close()


async def test_a_model_that_fails_is_reported_and_ends_nothing(place: Place, model: Path, video: Path) -> None:
    files = version_of(model)
    damaged = await store_model(place.store, place.blobs.models, files, uploaded_at=datetime.now(UTC))
    await place.blobs.models.put(damaged.key, {"model.json": files["model.json"] + b" "})
    absent = await store_model(
        place.store, place.blobs.models, version_of(model, refractory_s=0.5), uploaded_at=datetime.now(UTC)
    )
    await place.blobs.models.delete(absent.key)
    async with worker_here(place.settings, place.store, model):
        assert "have changed" in await place.failed(damaged.key)
        assert "not in the storage" in await place.failed(absent.key)
        session = await submit(place.store, place.settings, upload=video)
        await until(place.store, lambda: in_state(place.store, session.id, "completed"))
        await place.store.models.delete([damaged.key, absent.key])

        async def is_forgotten() -> bool:
            return not (await place.worker()).model_failures

        await until(place.store, is_forgotten)


async def test_a_session_waits_for_its_version_and_runs_on_it(place: Place, model: Path, video: Path) -> None:
    async with worker_here(place.settings, place.store, model):
        uploaded = await store_model(place.store, place.blobs.models, version_of(model), uploaded_at=datetime.now(UTC))
        session = await submit(place.store, place.settings, upload=video, pinned=uploaded)
        await until(place.store, lambda: in_state(place.store, session.id, "completed"))
    events = await place.store.log.read_events(session.id)
    assert {(event.model, event.model_version) for event in events} == {("gate", uploaded.info.version)}
    assert any(event.type == "action.start" for event in events)


@pytest.mark.parametrize(("capacity_steps_per_s", "follows"), [(100.0, True), (15.0, False)])
@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_a_shadow_follows_only_where_sessions_leave_capacity(
    place: Place, model: Path, tmp_path: Path, capacity_steps_per_s: float, follows: bool
) -> None:
    # Long enough for a shadow that begins late on a busy machine.
    video = write_lively_video(tmp_path / "long.mp4", count=240)

    def worker(detector: Detector) -> WorkerInfo:
        return replace(a_worker(detector), capacity_steps_per_s=capacity_steps_per_s)

    async with worker_here(place.settings, place.store, model, worker):
        at = datetime.now(UTC)
        serving = await store_model(place.store, place.blobs.models, version_of(model), uploaded_at=at)
        other = version_of(model, refractory_s=0.5)
        shadow = await store_model(place.store, place.blobs.models, other, uploaded_at=at, is_shadow=True)
        await place.loaded(serving.key, shadow.key)
        session = await submit(place.store, place.settings, upload=video, pace="realtime", pinned=serving)
        await until(place.store, lambda: in_state(place.store, session.id, "completed"))
    found = await place.store.shadows.of_version(shadow.key)
    assert [each.session_id for each in found] == ([session.id] if follows else [])
    events = await place.store.log.read_events(session.id)
    assert {event.model_version for event in events} == {serving.info.version}
