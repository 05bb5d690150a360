"""`cake submit`, `watch`, `sessions`, `events`, `clip` and `push` against a real server."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from service.access.scopes import Scope
from service.cli.main import app
from tests.support.access_kit import make_key
from tests.support.api_kit import stored_uploads
from tests.support.cake_command import run
from tests.support.clip_kit import frames_of_clip
from tests.support.made_videos import write_video
from tests.support.push_kit import Pushing
from tests.support.running_server import Running, running_server


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log of the server, which runs in this process, out of the commands' output."""
    with structlog.testing.capture_logs():
        yield


async def test_a_clip_is_saved_and_an_event_without_one_is_refused_in_one_line(tmp_path: Path) -> None:
    video = await asyncio.to_thread(write_video, tmp_path / "v.mp4")
    async with running_server(tmp_path / "data") as server:
        _, out, _ = await cake(server, "submit", video)
        session_id, path = out.strip(), tmp_path / "kick.mp4"
        await server.worker.claim()
        await server.worker.starts(session_id, [1.0])
        status, out, err = await cake(server, "clip", session_id, "1000-0", "--out", path, "--after-s", "0.5")
        assert (status, out, err) == (0, f"{path}\n", "")
        assert await asyncio.to_thread(frames_of_clip, path.read_bytes())
        status, _, err = await cake(server, "clip", session_id, "2000-0")
    assert status == 1
    assert err.startswith("cake: not_found: The session has no such event.")


async def cake(server: Running, *arguments: object, key: str = "") -> tuple[int, str, str]:
    return await asyncio.to_thread(run, *arguments, CAKE_SERVER=server.url, CAKE_KEY=key)


async def test_a_file_is_submitted_listed_and_its_events_are_printed(tmp_path: Path) -> None:
    video = tmp_path / "gate.mp4"
    await asyncio.to_thread(video.write_bytes, bytes(10_000))
    async with running_server(tmp_path / "data") as server:
        key = await make_key(server, *Scope)
        status, out, err = await cake(server, "submit", video, "--label", "kick", "--name", "gate", key=key)
        assert (status, err) == (0, "")
        session_id = out.strip()
        assert stored_uploads(server) == [bytes(10_000)]
        await server.worker.claim()
        await server.worker.starts(session_id, [1.0, 62.5])

        status, out, _ = await cake(server, "events", session_id, key=key)
        assert out.splitlines()[1:] == ["0:01.0  start  kick  90 %", "1:02.5  start  kick  90 %"]
        status, out, _ = await cake(server, "events", session_id, "--after", "1000-0", "--json", key=key)
        assert [json.loads(line)["id"] for line in out.splitlines()] == ["62500-0"]

        watching = asyncio.create_task(cake(server, "watch", session_id, "--after", "1000-0", key=key))
        await server.worker.enter(session_id, "failed", code="decode_failed", detail="The video is damaged.")
        status, out, _ = await watching
        assert status == 1
        assert out.splitlines()[-1].endswith("state  failed  decode_failed  The video is damaged.")

        status, out, _ = await cake(server, "sessions", "--json", key=key)
        assert [json.loads(line)["name"] for line in out.splitlines()] == ["gate"]
        status, out, _ = await cake(server, "sessions", "--state", "running", key=key)
        assert session_id not in out
        for name, is_listed in (("gate", True), ("door", False)):
            status, out, _ = await cake(server, "sessions", "--name", name, key=key)
            assert (status, session_id in out) == (0, is_listed)
        status, out, _ = await cake(server, "sessions", "--metadata", "site=north", key=key)
        assert session_id not in out
        status, out, _ = await cake(server, "sessions", key=key)
        [row] = [line for line in out.splitlines() if session_id in line]
        for value in ("gate", "failed: decode_failed", "mocap", f"{datetime.now(UTC):%Y-%m-%d}"):
            assert value in row


async def test_a_submission_can_be_watched_to_its_end(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        watching = asyncio.create_task(cake(server, "submit", "http://example.org/a.mp4", "--watch", "--json"))
        while not (page := await server.worker.store.sessions.page(limit=1, before=None, state=None))[0]:
            await server.worker.store.log.wait(await server.worker.store.log.end(), timeout_s=0.05)
        await server.worker.claim()
        await server.worker.starts(page[0][0].id, [1.0])
        await server.worker.enter(page[0][0].id, "completed")
        status, out, err = await watching
    assert (status, err.strip()) == (0, page[0][0].id)
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["session.state", "action.start", "session.state"]


async def test_a_stream_is_pushed_from_a_file_and_from_stdin(pushed: Pushing, stream: bytes, tmp_path: Path) -> None:
    file = tmp_path / "stream.ts"
    await asyncio.to_thread(file.write_bytes, stream)
    status, out, err = await cake(pushed.server, "push", file)
    assert (status, err) == (0, "")
    assert (await pushed.server.http.get(f"/v1/sessions/{out.strip()}")).json()["pace"] == "fast"

    def piped() -> str:
        result = CliRunner().invoke(app, ["push", "-", "--server", pushed.server.url, "--json"], input=stream)
        return result.stdout

    session = json.loads(await asyncio.to_thread(piped))
    assert session["pace"] == "realtime"
    for session_id in (out.strip(), session["id"]):
        status, out, _ = await cake(pushed.server, "watch", session_id)
        assert status == 0
        assert "state  completed" in out


async def test_a_submission_names_its_metadata_and_its_webhook_whose_secret_is_shown_once(tmp_path: Path) -> None:
    options = ("--metadata", "site=north", "--metadata", "note=a=b", "--webhook", "http://127.0.0.1:9/")
    async with running_server(tmp_path / "data") as server:
        await server.worker.register()
        status, out, err = await cake(server, "submit", "http://example.org/a.mp4", *options)
        record = await server.worker.store.sessions.get(out.strip())
        assert record.webhook is not None
        assert (status, err) == (0, f"secret: {record.webhook.secret.get_secret_value()}\n")
        assert record.metadata == {"site": "north", "note": "a=b"}
        own = "whsec_" + "MDAw" * 8
        submit = ("submit", "http://example.org/a.mp4", *options, "--json")
        await server.worker.register()
        _, out, err = await asyncio.to_thread(run, *submit, CAKE_SERVER=server.url, CAKE_WEBHOOK_SECRET=own)
        assert (json.loads(out)["webhook"]["secret"], err) == (own, "")


ERRORS = [
    (("submit", "http://example.org/a.mp4", "--metadata", "site"), 2, "cake: --metadata site: give KEY=VALUE"),
    (("events", "none"), 1, "cake: not_found: There is no session"),
    (("watch", "none"), 1, "cake: not_found: There is no session"),
    (("submit", "/nowhere.mp4"), 2, "cake: there is no file /nowhere.mp4"),
    (("push", "/nowhere.ts"), 2, "cake: there is no file /nowhere.ts"),
    (("submit", "http://example.org/a.mp4", "--model", "walk"), 1, "cake: unknown_model: There is no model"),
    (("submit", "http://example.org/a.mp4", "--label", "fly"), 1, "cake: unknown_label: "),
    (("sessions", "--server", "http://127.0.0.1:9"), 1, "cake: unreachable: The connection to http://127.0.0.1:9"),
    (("watch", "none", "--server", "http://127.0.0.1:9"), 1, "cake: unreachable: The connection to"),
    (("sessions", "--server", "127.0.0.1"), 2, "cake: --server: '127.0.0.1' is not the address of a server"),
]


async def test_an_error_is_one_line_with_its_code_and_what_to_do(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        for arguments, status, line in ERRORS:
            await server.worker.register()
            ended, out, err = await cake(server, *arguments)
            assert (ended, out) == (status, ""), arguments
            assert err.startswith(line)
            assert err.count("\n") == 1
            if "unknown_label" in line:
                assert err.endswith(" has no label fly. Known: kick, jump, walk.\n")
        await make_key(server, "sessions:read")
        ended, _, err = await cake(server, "sessions")
        assert (ended, err.count("\n")) == (1, 1)
        assert err.startswith("cake: unauthorized: The server requires an API key. Set the variable CAKE_KEY")
        _, _, err = await cake(server, "sessions", key="wrong")
        assert err.startswith("cake: unauthorized: The API key is unknown")
