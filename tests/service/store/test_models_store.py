"""Both stores keep uploaded models, tell workers of them, and give sessions only to workers of their very version."""

from datetime import UTC, datetime, timedelta

import pytest

from service.errors import ModelInUseError, ModelLimitError, SessionEndedError, UnknownModelError
from service.store.model_records import UploadedModel
from service.store.protocols import Store
from service.store.records import SessionRecord, SettingsChange
from service.store.worker_records import LeaseLostError, WorkerInfo
from tests.support.store_kit import MODEL, queue, record

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def version(number: int) -> UploadedModel:
    info = MODEL.model_copy(update={"name": "gate", "version": f"v{number}", "origin": "uploaded"})
    return UploadedModel(info=info, size_bytes=10, uploaded_at=BEGAN + timedelta(minutes=number))


def pinned(number: int, pace: str = "fast") -> SessionRecord:
    changes = {"model_version": f"v{number}", "is_version_pinned": True}
    return record(model="gate", pace=pace).model_copy(update=changes)


def move(number: int) -> SettingsChange:
    return SettingsChange(model_version=f"v{number}", is_version_pinned=True)


def worker_of(worker_id: str, *numbers: int) -> WorkerInfo:
    loaded = tuple(MODEL.model_copy(update={"name": version(number).key}) for number in numbers)
    return WorkerInfo(worker_id, 100.0, (MODEL, *loaded))


async def claim(store: Store, worker_id: str) -> str | None:
    claimed = await store.workers.claim(worker_id)
    return None if claimed is None else claimed.id


async def test_versions_are_kept_by_time_of_upload_up_to_a_limit(store: Store) -> None:
    for number in (2, 1):
        await store.models.put(version(number), max_kept=2)
    assert await store.models.all() == [version(1), version(2)]
    with pytest.raises(ModelLimitError, match="2 versions"):
        await store.models.put(version(3), max_kept=2)
    again = version(1).model_copy(update={"uploaded_at": BEGAN + timedelta(hours=1)})
    await store.models.put(again, max_kept=2)
    assert await store.models.all() == [version(2), again]


async def test_a_worker_learns_of_models_when_it_renews_its_leases(store: Store) -> None:
    assert (await store.workers.renew("w1")).models == set()
    await store.models.put(version(1), max_kept=2)
    assert (await store.workers.renew("w1")).models == {"gate@v1"}
    await store.models.delete(["gate@v1", "gate@v9"])
    assert (await store.workers.renew("w1")).models == set()


async def test_a_session_goes_only_to_workers_of_its_version(store: Store) -> None:
    for number in (1, 2):
        await store.models.put(version(number), max_kept=2)
    await store.workers.announce(worker_of("w1", 1))
    session = await queue(store, pinned(2))
    assert await claim(store, "w1") is None
    await store.workers.announce(worker_of("w1", 1, 2))
    assert await claim(store, "w1") == session.id


async def test_a_session_of_an_older_server_takes_the_key_for_a_name(store: Store) -> None:
    await store.models.put(version(1), max_kept=2)
    session = await queue(store, record(model="gate@v1"))
    assert await claim(store, "w1") is None
    await store.workers.announce(worker_of("w1", 1))
    assert await claim(store, "w1") == session.id
    with pytest.raises(ModelInUseError):
        await store.models.delete(["gate@v1"])


async def test_a_worker_that_announces_more_keeps_its_sessions_and_shows_its_failures(store: Store) -> None:
    session = await queue(store)
    assert await claim(store, "w1") == session.id
    info = WorkerInfo("w1", 50.0, (MODEL,), model_failures={"gate@v1": "It is damaged."})
    await store.workers.announce(info)
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    assert await claim(store, "w2") is None
    assert await store.workers.owner_of(session.id) == info
    await store.workers.release("w1")
    with pytest.raises(LeaseLostError):
        await store.workers.announce(info)


async def test_a_model_in_use_stays_with_all_its_versions(store: Store) -> None:
    for number in (1, 2):
        await store.models.put(version(number), max_kept=2)
    session = await queue(store, pinned(1))
    with pytest.raises(ModelInUseError, match=r"\(1\)"):
        await store.models.delete(["gate@v1", "gate@v2"])
    assert len(await store.models.all()) == 2
    await store.sessions.request_stop(session.id)
    await store.models.delete(["gate@v1", "gate@v2"])
    assert await store.models.all() == []
    with pytest.raises(UnknownModelError):
        await queue(store, pinned(1))


async def test_sessions_move_to_another_version_wherever_they_are(store: Store) -> None:
    for number in (1, 2):
        await store.models.put(version(number), max_kept=2)
    await store.workers.announce(worker_of("w1", 1))
    running = await queue(store, pinned(1, "realtime"))
    assert await claim(store, "w1") == running.id
    waiting = await queue(store, pinned(1))
    for session in (running, waiting):
        moved = await store.sessions.change(session.id, move(2))
        assert (moved.model_key, moved.revision) == ("gate@v2", 1)
    await store.models.delete(["gate@v1"])
    await store.workers.register(worker_of("w2", 2))
    assert await claim(store, "w2") == waiting.id
    assert await claim(store, "w2") is None, "the other one is running"
    assert (await store.workers.renew("w1")).changed == {running.id}
    await store.workers.release("w1")
    assert await claim(store, "w2") == running.id
    with pytest.raises(ModelInUseError):
        await store.models.delete(["gate@v2"])
    for session in (running, waiting):
        await store.sessions.request_stop(session.id)
    await store.workers.release("w2")
    for session in (running, waiting):
        await store.sessions.request_stop(session.id)
    await store.models.delete(["gate@v2"])


async def test_a_session_whose_worker_died_can_move(store: Store) -> None:
    for number in (1, 2):
        await store.models.put(version(number), max_kept=2)
    await store.workers.announce(worker_of("w1", 1))
    session = await queue(store, pinned(1))
    assert await claim(store, "w1") == session.id
    await store.workers.release("w1")
    await store.sessions.change(session.id, move(2))
    await store.workers.register(worker_of("w2", 1, 2))
    assert await claim(store, "w2") == session.id
    assert await claim(store, "w2") is None


async def test_a_session_moves_only_to_a_stored_version_and_not_after_its_end(store: Store) -> None:
    await store.models.put(version(1), max_kept=2)
    session = await queue(store, pinned(1))
    with pytest.raises(UnknownModelError):
        await store.sessions.change(session.id, move(2))
    await store.sessions.request_stop(session.id)
    with pytest.raises(SessionEndedError):
        await store.sessions.change(session.id, move(1))
