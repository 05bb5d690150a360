"""Replaced versions go once a newer one is loaded and no session uses them; files without a record go after an hour."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.errors import StoreUnavailableError
from service.storage.blobs import Blobs
from service.storage.model_files import ModelFiles
from service.storage.model_sweep import MIN_AGE, ModelSweep
from service.storage.objects import Objects
from service.store.model_records import UploadedModel
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.worker_records import WorkerInfo
from tests.support.store_kit import MODEL, queue, record

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


async def put(store: Store, blobs: Blobs, number: int, *, is_shadow: bool = False) -> None:
    info = MODEL.model_copy(update={"name": "gate", "version": f"v{number}", "origin": "uploaded"})
    uploaded = UploadedModel(
        info=info, size_bytes=1, uploaded_at=BEGAN + timedelta(minutes=number), is_shadow=is_shadow
    )
    await store.models.put(uploaded, max_kept=9)
    await blobs.models.put(uploaded.key, {"model.json": b"{}"})


async def load(store: Store, *numbers: int) -> None:
    loaded = tuple(MODEL.model_copy(update={"name": f"gate@v{number}"}) for number in numbers)
    await store.workers.announce(WorkerInfo("w1", 100.0, (MODEL, *loaded)))


def pinned(number: int) -> SessionRecord:
    return record(model="gate").model_copy(update={"model_version": f"v{number}", "is_version_pinned": True})


async def kept(store: Store) -> list[str]:
    return [model.info.version for model in await store.models.all()]


async def test_a_replaced_version_goes_when_nothing_needs_it(store: Store, tmp_path: Path) -> None:
    blobs = Blobs(None, tmp_path / "data")
    sweep = ModelSweep(store, blobs.models)
    for number in (1, 2, 3):
        await put(store, blobs, number)
    session = await queue(store, pinned(1))
    await load(store, 1)
    await sweep.check()
    assert await kept(store) == ["v1", "v2", "v3"], "the newer ones are not loaded"
    await load(store, 1, 3)
    await sweep.check()
    assert await kept(store) == ["v1", "v3"], "a session uses the first"
    await store.sessions.request_stop(session.id)
    await sweep.check()
    assert await kept(store) == ["v3"]
    assert set(await blobs.models.written_at()) == {"gate@v3"}
    assert [path.name for path in (tmp_path / "data" / "models").iterdir()] == ["gate@v3"]


class LockedFiles(ModelFiles):
    """Cannot delete the files of the version `v1`."""

    async def delete(self, key: str) -> None:
        if key == "gate@v1":
            raise StoreUnavailableError("Not now.")
        await super().delete(key)


async def test_a_version_whose_files_cannot_be_deleted_holds_up_no_other(store: Store, tmp_path: Path) -> None:
    blobs = Blobs(None, tmp_path)
    sweep = ModelSweep(
        store, LockedFiles(Objects.of_folder(tmp_path), tmp_path), clock=lambda: datetime.now(UTC) + 2 * MIN_AGE
    )
    for number in (1, 2, 3):
        await put(store, blobs, number)
    await load(store, 3)
    for key in ("gate@v0", "gate@v4"):
        await blobs.models.put(key, {"model.json": b"{}"})
    await sweep.check()
    assert await kept(store) == ["v3"]
    assert set(await blobs.models.written_at()) == {"gate@v1", "gate@v3"}


async def test_a_shadow_stays_beside_the_version_that_serves_until_another_shadow_comes(
    store: Store, tmp_path: Path
) -> None:
    blobs = Blobs(None, tmp_path / "data")
    for number in (1, 2, 3, 4):
        await put(store, blobs, number, is_shadow=number > 1)
    await load(store, 1, 2, 3, 4)
    await ModelSweep(store, blobs.models).check()
    assert await kept(store) == ["v1", "v4"]


async def test_files_without_a_record_go_after_an_hour(store: Store, tmp_path: Path) -> None:
    blobs = Blobs(None, tmp_path / "data")
    await put(store, blobs, 1)
    await blobs.models.put("gate@lost", {"model.json": b"{}"})
    now = datetime.now(UTC)
    await ModelSweep(store, blobs.models, clock=lambda: now + timedelta(minutes=50)).check()
    assert set(await blobs.models.written_at()) == {"gate@lost", "gate@v1"}
    await ModelSweep(store, blobs.models, clock=lambda: now + timedelta(minutes=70)).check()
    assert set(await blobs.models.written_at()) == {"gate@v1"}
