"""`cake models push`, `list`, `remove`, `shadow` and `promote` against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from service.background import background_task
from service.model_description import describe
from service.store.shadow_records import FollowedSpan, ShadowStart
from service.store.worker_records import WorkerInfo
from tests.support.cake_command import run
from tests.support.model_kit import network_of, tar_of, version_of
from tests.support.running_server import MODEL, Running, running_server


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log of the server, which runs in this process, out of the commands' output."""
    with structlog.testing.capture_logs():
        yield


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data") as running:
        yield running


@asynccontextmanager
async def living(server: Running, worker: WorkerInfo) -> AsyncIterator[None]:
    """A worker whose lease does not run out, however busy the machine is."""

    async def renew() -> None:
        while True:
            await server.worker.store.workers.register(worker)
            await asyncio.sleep(1)

    async with background_task(renew()):
        yield


async def cake(server: Running, *arguments: object) -> tuple[int, str, str]:
    return await asyncio.to_thread(run, "models", *arguments, CAKE_SERVER=server.url)


async def test_a_checkpoint_folder_or_archive_is_pushed_and_removed(
    server: Running, model: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "gate.tar"
    async with living(server, WorkerInfo(server.worker.id, 100.0, (MODEL,))):
        status, out, err = await cake(server, "push", "gate", model, "--no-wait")
        version = network_of(
            {name: (model / name).read_bytes() for name in ("model.json", "model.safetensors")}
        ).version
        assert (status, out, err) == (0, f"gate {version}: loaded by 0 of 1 workers\n", "")
        assert [each.info.name for each in await server.worker.store.models.all()] == ["gate"]
        archive.write_bytes(tar_of(version_of(model, refractory_s=0.4)))
        status, out, _ = await cake(server, "push", "gate", archive, "--no-wait", "--json")
        assert (status, json.loads(out)["origin"]) == (0, "uploaded")
        assert await cake(server, "remove", "gate") == (0, "", "")
        assert await server.worker.store.models.all() == []
        status, _, err = await cake(server, "remove", "gate")
        assert (status, err.startswith("cake: not_found: ")) == (1, True)
        status, out, _ = await cake(server, "list", "--server", server.url)
        assert (status, out) == (0, "mocap abc123 (configured, default): kick, jump, walk\n")


async def test_a_push_fails_where_no_worker_can_load_the_model(server: Running, model: Path) -> None:
    key = f"gate@{network_of(version_of(model)).version}"
    failing = WorkerInfo(server.worker.id, 100.0, (MODEL,), model_failures={key: "It needs PyTorch."})
    folder = model.parent / "gate"
    folder.mkdir(exist_ok=True)
    for name, content in version_of(model).items():
        (folder / name).write_bytes(content)
    async with living(server, failing):
        status, out, err = await cake(server, "push", "gate", folder)
    assert (status, out.endswith("loaded by 0 of 1 workers\n")) == (1, True)
    assert err == "cake: w1 cannot load it: It needs PyTorch.\n"


async def test_a_folder_that_is_not_a_checkpoint_is_rejected_in_one_line(server: Running, tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        status, _, err = await cake(server, "push", "gate", path)
        assert (status, err.count("\n")) == (2, 1)
        assert "No such file" in err


async def test_a_folder_without_a_checkpoint_is_refused_with_the_file_that_it_lacks(
    server: Running, tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    status, _, err = await cake(server, "push", "gate", folder)
    assert (status, err) == (2, f"cake: {folder / 'model.json'}: No such file or directory\n")


async def test_a_shadow_is_uploaded_shown_promoted_and_its_sessions_move(
    server: Running, model: Path, tmp_path: Path
) -> None:
    archives = [tmp_path / "first.tar", tmp_path / "second.tar"]
    infos = []
    for number, archive in enumerate(archives):
        files = version_of(model, refractory_s=0.2 + number)
        archive.write_bytes(tar_of(files))
        infos.append(describe(f"gate@{network_of(files).version}", network_of(files), "uploaded"))
    serving, shadow = (info.version for info in infos)
    async with living(server, WorkerInfo(server.worker.id, 100.0, (MODEL, *infos))):
        assert (await cake(server, "push", "gate", archives[0]))[0] == 0
        session = await server.submit(model="gate")
        status, out, err = await cake(server, "shadow", "gate", archives[1])
        assert (status, out) == (0, f"gate {shadow}, shadow of {serving}: loaded by 1 of 1 workers\n"), err
        found = FollowedSpan(from_s=0.0, to_s=1800.0)
        start = ShadowStart(found_by="shadow", label="kick", start_s=9.0, score=0.9, time=datetime.now(UTC))
        await server.worker.store.shadows.add(f"gate@{shadow}", session.id, found, [start], max_kept=9)
        status, out, _ = await cake(server, "shadow", "gate")
        assert (status, out.splitlines()[0]) == (
            0,
            f"gate {shadow}, shadow of {serving}: sessions followed 1, hours of video 0.50",
        )
        [kick] = [line.split() for line in out.splitlines() if "kick" in line]
        assert [cell for cell in kick if cell != "│"] == ["kick", "0", "0", "1", "0", "2"]
        status, out, err = await cake(server, "promote", "gate", "--move-sessions")
        assert (status, out) == (0, f"gate {shadow}: new sessions use it\nmoved 1 of 1 sessions\n"), err
        assert (await server.worker.store.sessions.get(session.id)).model_version == shadow
        status, _, err = await cake(server, "remove", "gate", "--shadow")
        assert (status, err.startswith("cake: not_found: The model 'gate' has no shadow.")) == (1, True)
