"""Worker processes of an embedded server: started, restarted, stopped, never left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from service.api.data_folder import FolderInUseError, lock_folder
from service.api.embedded_worker import EmbeddedWorker, embedded_prefix, first_workers
from service.api.supervisor import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    STABLE_S,
    Supervisor,
    next_delay_s,
)
from service.settings import Settings
from service.store import open_store
from service.store.protocols import Store
from service.store.worker_records import WorkerInfo
from tests.support.running_server import MODEL, child_server, until

REPORT = "import os, pathlib, sys; pathlib.Path(os.environ['CAKE_DATA_DIR'], os.environ['CAKE_WORKER_ID'])"
OBEDIENT = f"{REPORT}.write_text(str(os.getpid())); sys.stdin.read()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEDIENT}; import time; time.sleep(600)"
FERTILE = (
    "import subprocess as sp, sys;"
    "child = sp.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], stdin=sp.DEVNULL);"
    f"{REPORT}.write_text(f'{{os.getpid()}} {{child.pid}}'); sys.stdin.read()"
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "metrics").mkdir()
    return Settings(data_dir=tmp_path, workers=2)


@pytest_asyncio.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    opened = open_store(settings.resolved_store_url)
    yield opened
    await opened.close()


@asynccontextmanager
async def supervisor(
    settings: Settings, store: Store, *command: str, started: Mapping[int, EmbeddedWorker] | None = None
) -> AsyncIterator[Counter]:
    """A supervisor at work; the counter of its restarts."""
    restarts = Counter("restarts", "restarts", registry=CollectorRegistry())
    command = command if len(command) > 1 else (sys.executable, "-S", "-c", *command)
    working = asyncio.create_task(Supervisor(settings, store.workers, restarts, started or {}, command=command).run())
    try:
        yield restarts
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def reports(data_dir: Path, count: int) -> dict[str, list[int]]:
    """Ids of workers and the processes that they reported, once there are `count`."""
    await until(lambda: sum(bool(pids) for pids in reported(data_dir).values()) >= count)
    return reported(data_dir)


def reported(data_dir: Path) -> dict[str, list[int]]:
    return {path.name: [int(pid) for pid in path.read_text().split()] for path in data_dir.glob("embedded-*")}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def test_all_workers_run_with_distinct_ids_and_are_reaped_at_exit(settings: Settings, store: Store) -> None:
    async with supervisor(settings, store, OBEDIENT):
        workers = await reports(settings.data_dir, 2)
        pids = [pid for (pid,) in workers.values()]
        assert {name.split("-")[2] for name in workers} == {"0", "1"}
        assert all(alive(pid) for pid in pids)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[1], 0)


async def test_a_worker_that_dies_is_released_and_replaced(settings: Settings, store: Store) -> None:
    async with supervisor(settings, store, OBEDIENT):
        before = await reports(settings.data_dir, 2)
        victim = min(before)
        await store.workers.register(WorkerInfo(victim, 10.0, (MODEL,)))
        os.kill(before[victim][0], signal.SIGKILL)
        after = await reports(settings.data_dir, 3)
        assert await store.workers.live() == []
        (new,) = set(after) - set(before)
        assert new.startswith(f"{embedded_prefix(settings.data_dir)}0-")
        assert alive(after[new][0])


async def test_a_worker_that_ignores_sigterm_is_killed(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.embedded_worker.STOP_TIMEOUT_S", 0.2)
    async with supervisor(settings, store, STUBBORN):
        workers = await reports(settings.data_dir, 2)
    assert not any(alive(pid) for (pid,) in workers.values())


async def test_the_children_of_a_worker_die_with_it(settings: Settings, store: Store) -> None:
    async with supervisor(settings, store, FERTILE):
        first = await reports(settings.data_dir, 2)
        victim, child = first[min(first)]
        os.kill(victim, signal.SIGKILL)
        everyone = [pid for pids in (await reports(settings.data_dir, 3)).values() for pid in pids]
        assert not alive(child)
    await until(lambda: not any(alive(pid) for pid in everyone))


async def test_workers_of_a_killed_server_are_released_at_start(settings: Settings, store: Store) -> None:
    await store.workers.register(WorkerInfo(f"{embedded_prefix(settings.data_dir)}0-old", 10.0, (MODEL,)))
    await store.workers.register(WorkerInfo("a worker of its own", 10.0, (MODEL,)))
    async with supervisor(settings, store, OBEDIENT):
        await reports(settings.data_dir, 2)
        assert [worker.id for worker in await store.workers.live()] == ["a worker of its own"]


async def test_workers_that_run_already_are_taken_over_and_stay_registered(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.embedded_worker.WORKER_COMMAND", (sys.executable, "-S", "-c", OBEDIENT))
    async with first_workers(settings) as workers:
        first = await reports(settings.data_dir, 2)
        victim = workers[0].id
        await store.workers.register(WorkerInfo(workers[1].id, 10.0, (MODEL,)))
        async with supervisor(settings, store, OBEDIENT, started=workers):
            os.kill(first[victim][0], signal.SIGKILL)
            after = await reports(settings.data_dir, 3)
            assert set(first) == {worker.id for worker in workers.values()}
            assert [worker.id for worker in await store.workers.live()] == [workers[1].id]
        assert not any(alive(pid) for (pid,) in after.values())


async def test_workers_that_no_supervisor_took_over_are_stopped(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.embedded_worker.WORKER_COMMAND", (sys.executable, "-S", "-c", OBEDIENT))
    async with first_workers(settings):
        pids = [pid for (pid,) in (await reports(settings.data_dir, 2)).values()]
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)


async def test_a_worker_that_cannot_be_started_is_retried(settings: Settings, store: Store) -> None:
    async with supervisor(settings, store, "/no/such/program", "x") as restarts:
        await until(lambda: next(iter(restarts.collect())).samples[0].value >= 3)


@pytest.mark.slow
async def test_workers_notice_when_their_server_is_killed(tmp_path: Path) -> None:
    async with child_server(tmp_path / "data", worker=OBEDIENT) as child:
        ((worker,),) = (await reports(tmp_path / "data", 1)).values()
        child.process.kill()
        await child.process.wait()
        await until(lambda: not alive(worker))


def test_a_data_folder_can_be_used_by_one_server(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(FolderInUseError, match="--data-dir"), lock_folder(tmp_path):
        pass
    with lock_folder(tmp_path):
        pass


@given(st.lists(st.floats(0, STABLE_S, exclude_max=True), max_size=30))
def test_restarts_back_off_while_workers_die_young_and_never_stop(lives_s: list[float]) -> None:
    delay_s = 0.0
    for lived_s in lives_s:
        longer_s = next_delay_s(delay_s, lived_s)
        assert min(LONGEST_DELAY_S, delay_s * 1.5) <= longer_s <= LONGEST_DELAY_S
        delay_s = longer_s
    assert next_delay_s(delay_s, STABLE_S) == FIRST_DELAY_S


def test_settings_reach_a_child_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path, models=("a", "b"), log_json=True, max_upload_bytes=5)
    for name, value in settings.environ().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
