"""The command `cake`: its help, `cake serve` from start to Ctrl-C, and the sample that plays in it."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from access_kit import bearer, make_key
from cake_command import run
from made_videos import write_video
from running_server import MODEL, Running, running_server
from tiny_model import checkpoint_for
from websockets.sync.client import connect

from model.training.recipe import StageName
from service.schemas import ENDED_STATES, EVENT, Session, SessionPage
from service.serve import play_sample

SUBCOMMANDS = (
    "synth mocap",
    "synth compose",
    "synth fights",
    "models import",
    "models export",
    *(f"train {stage}" for stage in StageName),
    "train ablate",
    "train clips",
    "train end-to-end",
    "train recipe",
)
COMMANDS = ("serve", "worker", "detect", "bench", "models", "train", "eval", "explain", "embed", "synth")


@pytest.mark.parametrize("command", [*COMMANDS, *SUBCOMMANDS])
def test_every_command_explains_itself_and_each_of_its_options(command: str) -> None:
    status, out, err = run(*command.split(), "--help", COLUMNS="200")
    assert (status, err) == (0, "")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    for option in re.finditer(r"^│ [* ]\s+(--[a-z-]+)(?P<rest>.*)│$", plain, re.MULTILINE):
        assert len(option["rest"].split()) >= 3, option[0]


def test_the_help_lists_every_command() -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert all(re.search(rf"^│ {command} ", out, re.MULTILINE) for command in COMMANDS)


def test_no_command_prints_the_help_and_a_wrong_one_is_named() -> None:
    assert "Usage" in run()[1]
    status, _, err = run("serv")
    assert status == 2
    assert "serv" in err


def test_help_and_the_server_do_without_torch() -> None:
    program = (
        "import sys, service.cli, service.serve, service.api.server\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(service.cli.app, ['serve', '--help']).exit_code == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "environ", "status"),
    [
        (["--port", "99999"], {}, 2),
        (["--workers", "-1"], {}, 2),
        ([], {"CAKE_MAX_UPLOAD_BYTES": "much"}, 2),
        ([], {"CAKE_MODELS": "mocap"}, 2),
        ([], {"CAKE_SOURCE_CA": "README.md"}, 2),
        ([], {"CAKE_STORE_URL": "redis+sentinel://host"}, 2),
        (["--host", "192.0.2.1"], {}, 1),
    ],
    ids=["port", "workers", "environment", "list", "no certificates", "store", "another machine's address"],
)
def test_a_setting_that_cannot_be_gives_one_line(
    options: list[str], environ: dict[str, str], status: int, tmp_path: Path
) -> None:
    got, out, err = run("serve", "--data-dir", str(tmp_path), *options, **environ)
    assert (got, out, err.count("\n")) == (status, "", 1)
    assert err.startswith("cake: ")


def test_a_missing_sample_is_named(tmp_path: Path) -> None:
    status, _, err = run("serve", "--data-dir", str(tmp_path), "--sample", "no-such.mp4")
    assert status == 2
    assert "no-such.mp4" in err


def test_a_busy_port_gives_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        status, out, err = run("serve", "--port", port, "--data-dir", str(tmp_path))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert port in err


def test_a_data_folder_that_cannot_be_made_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, out, err = run("serve", "--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert (status, out, err.count("\n")) == (1, "", 1)


@dataclass(frozen=True)
class Served:
    """A running `cake serve`."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def children(self) -> set[int]:
        """Processes that it started, and that those started."""
        found: set[int] = set()
        parents = [self.process.pid]
        while parents:
            pid = parents.pop()
            for task in Path(f"/proc/{pid}/task").iterdir():
                started = {int(child) for child in (task / "children").read_text().split()}
                parents += started
                found |= started
        return found

    def interrupt(self) -> int:
        """Press Ctrl-C; the exit status."""
        os.kill(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=30)


@contextmanager
def serving(data_dir: Path, *options: str, **environ: str) -> Iterator[Served]:
    log = data_dir.parent / f"{data_dir.name}.log"
    command = (sys.executable, "-m", "service.cli", "serve", "--port", "0", "--data-dir", str(data_dir), *options)
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env={**os.environ, **environ}
        )
    with process:
        try:
            assert process.stdout is not None
            told = re.fullmatch(r"CAKE is at (http://\S+) \(Ctrl-C stops it\)\n", process.stdout.readline())
            assert told, log.read_text()
            yield Served(process, told[1], log)
        finally:
            process.kill()


def test_serve_says_where_it_is_and_ctrl_c_ends_it_without_a_traceback(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "0") as served:
        assert httpx.get(f"{served.url}/livez").json() == {"status": "ok"}
        assert served.interrupt() in (0, 130)
    assert "Traceback" not in served.log.read_text()


def test_a_second_server_on_the_same_folder_gives_one_line(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "0"):
        status, out, err = run("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert str(tmp_path / "data") in err


def test_the_sample_gives_events_and_plays_again_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", count=90)
    model = checkpoint_for(video, tmp_path)
    settings = {"CAKE_MODELS": json.dumps([str(model)]), "CAKE_DEFAULT_MODEL": "tiny"}
    with serving(tmp_path / "data", "--sample", str(video), **settings) as served:
        with httpx.Client(base_url=served.url, timeout=30) as client:
            first = wait_for_session(client, ended=True, but=None)
            second = wait_for_session(client, ended=False, but=first.id)
            page = client.get(first.links.events).json()
        processes = served.children()
        assert processes
        assert served.interrupt() in (0, 130)
    assert "Traceback" not in served.log.read_text()
    assert (first.state, first.pace, first.name) == ("completed", "realtime", "Sample: v.mp4")
    assert second.name == first.name
    assert "action.start" in {EVENT.validate_python(event).type for event in page["events"]}
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


def wait_for_session(client: httpx.Client, *, ended: bool, but: str | None) -> Session:
    """The first session that has ended, or has not, and is another than `but`."""
    with connect(f"{str(client.base_url).replace('http', 'ws', 1)}/v1/events?after=0") as events:
        for _ in events:
            sessions = SessionPage.model_validate_json(client.get("/v1/sessions").content).sessions
            for session in sessions:
                if session.id != but and (session.state in ENDED_STATES) == ended:
                    return session
    raise AssertionError("the server went away")


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
        record = await server.worker.store.claim_session(server.worker.id)
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


async def test_the_sample_plays_once_at_a_time_and_of_the_ended_ones_the_last_stays(
    server: Running, sample: Path
) -> None:
    async with playing(server, sample):
        played: list[str] = []
        for _ in range(3):
            played.append(await claimed(server))
            assert await server.worker.store.claim_session(server.worker.id) is None
            await server.worker.enter(played[-1], "running")
            await server.worker.enter(played[-1], "completed")
        fourth = await claimed(server)
        assert await shown(server, 2) == [fourth, played[2]]


async def test_a_sample_that_an_earlier_server_left_goes_on_first(server: Running, sample: Path) -> None:
    async with playing(server, sample):
        left = await claimed(server)
    async with playing(server, sample):
        await server.worker.enter(left, "completed")
        assert await claimed(server) != left


async def test_a_sample_that_somebody_stopped_stays_stopped(server: Running, sample: Path) -> None:
    async with playing(server, sample) as task:
        session_id = await claimed(server)
        await server.worker.enter(session_id, "stopped")
        await task
        assert [session.id for session in await sessions(server)] == [session_id]


async def test_the_sample_plays_on_a_server_that_asks_for_keys(server: Running, sample: Path) -> None:
    key = await make_key(server, "sessions:read")
    async with playing(server, sample):
        await server.worker.enter(await claimed(server), "completed")
        await claimed(server)
        answer = await server.http.get("/v1/sessions", headers=bearer(key))
        assert answer.json()["sessions"] == []


async def test_other_sessions_are_left_alone(server: Running, sample: Path) -> None:
    other = await server.submit(name="mine")
    await server.worker.claim()
    await server.worker.enter(other.id, "completed")
    async with playing(server, sample):
        for _ in range(2):
            await server.worker.enter(await claimed(server), "completed")
        await claimed(server)
        assert other.id in {session.id for session in await sessions(server)}
