"""Models are uploaded, replaced and deleted over the API, with a real worker, while sessions run on them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from service.server_schemas import ModelInfo
from service.storage.blobs import Blobs
from service.storage.model_sweep import ModelSweep
from service.store.worker_records import WorkerInfo
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem, upload
from tests.support.model_kit import network_of, put, tar_of, version_of
from tests.support.running_server import MODEL, Running, running_server
from tests.support.session_kit import write_lively_video
from tests.support.worker_kit import worker_process

CARD = "# Gate\n\nAverage precision 0.9 on 40 test clips."


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_uploaded_models=2, max_model_bytes=4 * 1024**2) as running:
        yield running


@pytest_asyncio.fixture(params=["sqlite", "redis"])
async def served(tmp_path: Path, model: Path, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """A server whose worker, a separate process, has the tiny model from its settings."""
    store = {"store_url": request.getfixturevalue("redis_url")} if request.param == "redis" else {}
    chosen = {"models": str(model), "worker_capacity_steps_per_s": 100.0, "precision": "float32", **store}
    async with (
        running_server(tmp_path / "data", default_model="tiny", **chosen) as running,
        worker_process(running.settings, "real"),
    ):
        yield running


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_lively_video(tmp_path_factory.mktemp("long") / "v.mp4", count=3600).read_bytes()


async def until(is_so: Callable[[], Awaitable[bool]], timeout_s: float = 240) -> None:
    async with asyncio.timeout(timeout_s):
        while not await is_so():  # noqa: ASYNC110 - as a client would ask
            await asyncio.sleep(0.1)


async def got(server: Running, path: str) -> Any:
    answer = await server.http.get(path)
    while answer.status_code == 503:
        await asyncio.sleep(0.5)
        answer = await server.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def is_loaded(server: Running, version: object, name: str = "gate") -> bool:
    """Whether the real worker has this version, and the model is described by it."""
    found = await got(server, f"/v1/models/{name}")
    states = {worker["worker"]: worker["state"] for worker in found["workers"]}
    return found["version"] == version and states.get("real") == "loaded"


async def start(server: Running, video: bytes) -> str:
    """A session of the model that runs."""
    answer = await upload(server, video=video, model="gate", pace="realtime")
    assert answer.status_code == 202, answer.text
    path = str(answer.json()["links"]["self"])

    async def is_running() -> bool:
        return bool((await got(server, path))["state"] == "running")

    await until(is_running)
    return path


@pytest.mark.slow
async def test_a_model_is_replaced_and_deleted_while_sessions_run(
    served: Running, model: Path, long_video: bytes
) -> None:
    http = served.http
    first = await put(served, {**version_of(model), "README.md": CARD.encode()})
    assert (first["origin"], first["card"], first["labels"]) == ("uploaded", CARD, ["kick", "punch"])
    assert first["version"] == network_of(version_of(model)).version
    await until(lambda: is_loaded(served, first["version"]))
    assert {each["name"]: each["origin"] for each in (await got(served, "/v1/models"))["models"]}["gate"] == "uploaded"
    old = await start(served, long_video)
    assert (await got(served, old))["model_version"] == first["version"]

    second = await put(served, version_of(model, refractory_s=0.4))
    await until(lambda: is_loaded(served, second["version"]))
    new = await start(served, long_video)
    versions = [(await got(served, path))["model_version"] for path in (old, new)]
    assert versions == [first["version"], second["version"]]
    problem(await http.delete("/v1/models/gate"), 409, "model_in_use")

    # Another server's sweep would delete it once no session uses it.
    sweep = ModelSweep(served.worker.store, Blobs(None, served.settings.data_dir).models)
    await sweep.check()
    assert len(await served.worker.store.models.all()) == 2
    changed = await http.patch(old, json={"model_version": "latest"})
    assert changed.json()["model_version"] == second["version"], changed.text

    async def has_moved() -> bool:
        events = (await got(served, f"{old}/events"))["events"]
        return any(event["type"] == "session.changed" for event in events)

    await until(has_moved)
    events = (await got(served, f"{old}/events"))["events"]
    index = [event["type"] for event in events].index("session.changed")
    assert {event["model_version"] for event in events[:index]} == {first["version"]}
    assert {event["model_version"] for event in events[index:]} == {second["version"]}
    await sweep.check()
    [kept] = await served.worker.store.models.all()
    assert kept.info.version == second["version"]

    for path in (old, new):
        await http.delete(path)

    async def is_deleted() -> bool:
        return (await http.delete("/v1/models/gate")).status_code == 204

    await until(is_deleted)
    problem(await http.get("/v1/models/gate"), 404, "not_found")
    problem(await upload(served, video=b"x", model="gate"), 422, "unknown_model")

    async def is_unloaded() -> bool:
        [worker] = [each for each in await served.worker.store.workers.live() if each.id == "real"]
        return {each.name for each in worker.models} == {"tiny"}

    await until(is_unloaded)


@pytest.mark.slow
@pytest.mark.parametrize("served", ["redis"], indirect=True)
async def test_a_shadow_follows_live_sessions_without_publishing_until_it_is_promoted(
    served: Running, model: Path, long_video: bytes
) -> None:
    http, shadow_path = served.http, "/v1/models/gate/shadow"
    first, slower = await put(served, version_of(model)), version_of(model, refractory_s=1.5)
    await until(lambda: is_loaded(served, first["version"]))
    session = await start(served, long_video)
    answer = await http.put("/v1/models/gate?shadow=true", content=tar_of(slower))
    second = answer.json()["shadow"]
    assert (answer.status_code, answer.json()["version"]) == (201, first["version"])
    assert second["version"] == network_of(slower).version

    async def differs() -> bool:
        found = (await got(served, shadow_path))["labels"]
        return any(of_label["both"] for of_label in found.values()) and any(
            of_label["only_serving"] for of_label in found.values()
        )

    await until(differs)
    found = await got(served, shadow_path)
    [followed] = found["sessions"]
    assert session.endswith(followed["session_id"])
    assert (found["serving_version"], found["version"]) == (first["version"], second["version"])
    assert sum(each["serving_per_hour"] for each in found["labels"].values()) > sum(
        each["shadow_per_hour"] for each in found["labels"].values()
    )
    # What the serving version found was published, and nothing else was.
    published = {event["id"]: event for event in (await got(served, f"{session}/events?limit=1000"))["events"]}
    assert {event["model_version"] for event in published.values()} == {first["version"]}
    kept = await served.worker.store.shadows.of_version(f"gate@{second['version']}")
    assert {start.event_id for start in kept[0].starts if start.found_by == "serving"} <= published.keys()
    assert all(start.event_id is None for start in kept[0].starts if start.found_by == "shadow")
    assert (await start(served, long_video)) != session
    assert (await got(served, "/v1/sessions"))["sessions"][0]["model_version"] == first["version"]

    promoted = (await http.post("/v1/models/gate/promote")).json()
    assert (promoted["version"], promoted["shadow"]) == (second["version"], None)
    problem(await http.get(shadow_path), 404, "not_found")
    assert (await got(served, session))["model_version"] == first["version"]
    new = await start(served, long_video)
    assert (await got(served, new))["model_version"] == second["version"]
    moved = await http.patch(session, json={"model_version": "latest"})
    assert moved.json()["model_version"] == second["version"]


async def test_a_shadow_is_refused_where_it_could_not_follow(server: Running, model: Path) -> None:
    serving = version_of(model)

    async def refused(files: dict[str, bytes], status: int, code: str) -> None:
        problem(await server.http.put("/v1/models/gate?shadow=true", content=tar_of(files)), status, code)

    await refused(serving, 404, "not_found")
    await put(server, serving)
    await refused(serving, 422, "invalid_request")
    await refused(version_of(model, image_size=64), 422, "invalid_request")
    problem(await server.http.get("/v1/models/gate/shadow"), 404, "not_found")
    problem(await server.http.post("/v1/models/gate/promote"), 404, "not_found")
    shadow = tar_of(version_of(model, refractory_s=0.4))
    assert (await server.http.put("/v1/models/gate?shadow=true", content=shadow)).status_code == 201
    assert (await got(server, "/v1/models/gate/shadow"))["sessions"] == []
    assert (await server.http.delete("/v1/models/gate/shadow")).status_code == 204
    assert (await got(server, "/v1/models/gate"))["shadow"] is None


async def test_the_same_content_again_is_the_same_version_and_becomes_the_newest(server: Running, model: Path) -> None:
    first, second = version_of(model), version_of(model, refractory_s=0.4)
    await put(server, first)
    latest = await put(server, second)
    assert (await got(server, "/v1/models/gate"))["version"] == latest["version"]
    again = await put(server, first, status=200)
    assert (await got(server, "/v1/models/gate"))["version"] == again["version"] != latest["version"]
    assert len(await server.worker.store.models.all()) == 2
    answer = await server.http.put("/v1/models/gate", content=tar_of(version_of(model, refractory_s=0.6)))
    problem(answer, 429, "model_limit")
    # On a busy machine its lease may have run out.
    await server.worker.register()
    # A version that no worker has loaded is no model yet that sessions could use.
    assert [each["name"] for each in (await got(server, "/v1/models"))["models"]] == ["mocap"]
    states = [worker["state"] for worker in (await got(server, "/v1/models/gate"))["workers"]]
    assert states == ["absent"]


async def test_an_upload_that_is_not_a_model_is_rejected_and_leaves_nothing(server: Running, model: Path) -> None:
    http = server.http
    problem(await http.put("/v1/models/gate", content=b"no archive"), 422, "invalid_model")
    refused = problem(await http.put("/v1/models/gate", content=bytes(5 * 1024**2)), 413, "too_large")
    assert "CAKE_MAX_MODEL_BYTES" in refused.detail
    refused = problem(await http.put("/v1/models/a@b", content=b"no archive"), 422, "invalid_request")
    assert refused.detail == (
        "name: must have 1 to 64 letters, digits, `_`, `.` and `-`, and begin with a letter or digit."
    )
    for name in ("a@b", "..", ".hidden", "a%2Fb", "x" * 65):
        assert (await http.put(f"/v1/models/{name}", content=tar_of(version_of(model)))).status_code in (404, 405, 422)
    assert await server.worker.store.models.all() == []
    assert list((server.settings.data_dir / "uploads").iterdir()) == []
    assert not (server.settings.data_dir / "models").exists()


async def test_models_of_the_settings_are_neither_replaced_nor_deleted(server: Running, model: Path) -> None:
    answer = await server.http.put("/v1/models/mocap", content=tar_of(version_of(model)))
    problem(answer, 409, "model_configured")
    problem(await server.http.delete("/v1/models/mocap"), 409, "model_configured")
    problem(await server.http.delete("/v1/models/none"), 404, "not_found")
    await server.worker.register()
    found = await got(server, "/v1/models/mocap")
    assert (found["origin"], found["uploaded_at"], found["card"]) == ("configured", None, None)


async def test_only_administrators_upload_and_delete(server: Running, model: Path) -> None:
    writer, admin = await make_key(server, "sessions:write", "sessions:read"), await make_key(server, "admin")
    content = tar_of(version_of(model))
    problem(await server.http.put("/v1/models/gate", content=content, headers=bearer(writer)), 403, "missing_scope")
    assert (await server.http.put("/v1/models/gate", content=content, headers=bearer(admin))).status_code == 201
    problem(await server.http.delete("/v1/models/gate", headers=bearer(writer)), 403, "missing_scope")
    assert (await server.http.get("/v1/models/gate", headers=bearer(writer))).status_code == 200
    actions = (server.settings.data_dir / "audit.jsonl").read_text()
    assert '"action": "model.put"' in actions


async def test_a_session_moves_only_to_a_version_that_fits_it(server: Running, model: Path) -> None:
    versions = []
    for changes in ({"refractory_s": 0.2}, {"refractory_s": 0.3, "image_size": 64}):
        described = await put(server, version_of(model, **changes))
        versions.append(ModelInfo.model_validate({name: described[name] for name in ModelInfo.model_fields}))

    async def load(*loaded: ModelInfo) -> None:
        named = [each.model_copy(update={"name": f"gate@{each.version}"}) for each in loaded]
        await server.worker.store.workers.register(WorkerInfo(server.worker.id, 100.0, (MODEL, *named)))

    await load(versions[0])
    session = await server.submit(model="gate")
    assert session.model_version == versions[0].version
    unchanged = await server.http.patch(session.links.self, json={"model_version": "latest"})
    assert unchanged.json()["model_version"] == versions[0].version
    await load(*versions)
    refused = await server.http.patch(session.links.self, json={"model_version": "latest"})
    assert "takes other frames" in problem(refused, 422, "invalid_request").detail
    problem(await server.http.patch(session.links.self, json={"model_version": "1"}), 422, "invalid_request")
