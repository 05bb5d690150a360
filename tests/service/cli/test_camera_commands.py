"""`cake cameras` against a real server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from cake_client import Client
from service.cli.camera_wait import wait_for_frames
from service.cli.cameras import CameraListError, read_cameras
from tests.support.cake_command import run
from tests.support.running_server import Running, running_server


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log of the server, which runs in this process, out of the commands' output."""
    with structlog.testing.capture_logs():
        yield


async def cake(server: Running, *arguments: object) -> tuple[list[str], list[str], int]:
    status, out, err = await asyncio.to_thread(run, "cameras", *arguments, CAKE_SERVER=server.url)
    return out.splitlines(), err.splitlines(), status


async def test_a_list_is_started_once_follows_changes_and_is_stopped(tmp_path: Path) -> None:
    cameras = tmp_path / "cameras.csv"
    lines = ["name,url,labels,site", "Door,rtsp://user:hunter2@127.0.0.1:9/one,kick jump,north"]
    cameras.write_text("\n".join([*lines, "Yard,rtsp://127.0.0.1:9/two,,", ""]))
    async with running_server(tmp_path / "data") as server:
        (door, yard), err, status = await cake(server, "start", cameras)
        assert (status, err) == (0, [])
        assert door.startswith("Door: started ")
        door_id, yard_id = door.split()[-1], yard.split()[-1]
        session = await server.worker.store.sessions.get(door_id)
        assert (session.labels, session.metadata) == (("kick", "jump"), {"site": "north"})

        # As after a while, or by a timer.
        again, _, _ = await cake(server, "start", cameras)
        assert again == [f"Door: queued {door_id}", f"Yard: queued {yard_id}"]

        cameras.write_text("\n".join([*lines, "Yard,rtsp://127.0.0.1:9/three,,"]))
        (_, moved), _, _ = await cake(server, "start", cameras)
        assert moved.startswith("Yard: started ")
        assert moved.endswith(f", stopped {yard_id}")

        stopped, _, status = await cake(server, "stop", cameras)
        assert [line.split(": stopped ")[0] for line in stopped] == ["Door", "Yard"]
        assert (await cake(server, "stop", cameras)) == (["Door: not running", "Yard: not running"], [], 0)


async def test_a_camera_that_the_server_refuses_does_not_keep_the_others_from_starting(tmp_path: Path) -> None:
    cameras = tmp_path / "cameras.csv"
    cameras.write_text("name,url,labels\nDoor,rtsp://127.0.0.1:9/a,nonsense\nYard,rtsp://127.0.0.1:9/b,kick\n")
    async with running_server(tmp_path / "data") as server:
        out, err, status = await cake(server, "start", cameras)
    assert status == 1
    assert [line.split(": ")[:2] for line in err] == [["Door", "unknown_label"]]
    assert "nonsense" in err[0]
    assert err[0].endswith(" Known: kick, jump, walk.")
    assert [line.split()[0] for line in out] == ["Yard:"]


async def test_waiting_reports_each_camera_as_it_runs_or_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_server(tmp_path / "data") as server:
        door, yard, hall = [(await server.submit(name=name)).id for name in ("door", "yard", "hall")]
        loop, now_s = asyncio.get_running_loop(), 0.0

        async def next_step() -> None:
            await server.worker.claim()
            if now_s == 10:
                await server.worker.enter(door, "running")
            elif now_s == 20:
                await server.worker.enter(yard, "failed", code="source_unauthorized", detail="Check the password.")

        def sleep(_duration_s: float) -> None:
            nonlocal now_s
            now_s += 10
            if now_s <= 20:
                asyncio.run_coroutine_threadsafe(next_step(), loop).result()

        with Client(server.url) as client:
            ids = {"door": door, "yard": yard, "hall": hall}
            all_run = await asyncio.to_thread(wait_for_frames, client, ids, 30.0, clock=lambda: now_s, sleep=sleep)
    out, err = capsys.readouterr()
    assert not all_run
    assert out.splitlines() == ["door: running", "1 of 3 cameras are running"]
    failed, queued = err.splitlines()
    assert failed == "yard: failed: source_unauthorized: Check the password."
    assert queued.startswith("hall: not running after 30 s: queued: no worker has taken it")


async def test_start_also_waits_for_sessions_that_are_already_running(tmp_path: Path) -> None:
    cameras = tmp_path / "cameras.csv"
    cameras.write_text("name,url\nDoor,rtsp://127.0.0.1:9/one\n")
    async with running_server(tmp_path / "data") as server:
        [started], _, _ = await cake(server, "start", cameras)
        await server.worker.claim()
        await server.worker.enter(started.split()[-1], "running")
        out, err, status = await cake(server, "start", cameras, "--wait")
    assert (out[1:], err, status) == (["Door: running", "1 of 1 cameras are running"], [], 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "expected a first line such as name,url,labels; it lacks name and url"),
        (b"name;site\n", "it lacks url"),
        (b"name,url\nDoor,192.0.2.1\n", "line 2: expected a name and a URL"),
        (b"name,url\nDoor,rtsp://a/b,c\n", "line 2: more values than the first line has columns"),
        (b"name,url\nDoor,rtsp://a/b\nDoor,rtsp://a/c\n", "two cameras are named 'Door'"),
        (b"name,url\nT\xfcr,rtsp://a/b\n", "save it as CSV UTF-8"),
        ("name\turl\nTür\trtsp://a/b\n".encode("utf-16"), "save it as CSV UTF-8"),
        (b'name,url\n"Door"s,rtsp://a/b\n', "expected a CSV file"),
        (b"name,url,Name\nDoor,rtsp://a/b,Gate\n", "two columns are named name"),
        (b"name,url\n", "no cameras in "),
    ],
)
def test_a_file_that_is_not_a_list_is_described_in_one_line(tmp_path: Path, content: bytes, sentence: str) -> None:
    cameras = tmp_path / "cameras.csv"
    cameras.write_bytes(content)
    status, out, err = run("cameras", "start", cameras)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
    assert run("cameras", "stop", tmp_path / "missing.csv")[2].endswith("missing.csv: No such file or directory\n")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_lists_of_spreadsheets_are_read(tmp_path: Path, delimiter: str) -> None:
    cameras = tmp_path / "cameras.csv"
    rows = [
        ("\ufeffName", " URL ", "Labels", "Site "),
        ("Tür", "rtsp://a/b?channel=1", '"fall, fight"', "Süd"),
        ("", "", "", ""),
        (),
    ]
    cameras.write_bytes("\r\n".join(map(delimiter.join, rows)).encode())
    [camera] = read_cameras(cameras)
    assert (camera.name, camera.url, camera.labels) == ("Tür", "rtsp://a/b?channel=1", ("fall", "fight"))
    assert camera.metadata == {"Site": "Süd"}


@pytest.mark.parametrize("labels", ["fall fight", "fall,fight", "fall;fight", " fall , fight; ", "fall\n fight"])
def test_labels_are_separated_by_spaces_commas_or_semicolons(tmp_path: Path, labels: str) -> None:
    cameras = tmp_path / "cameras.csv"
    cameras.write_text(f'name,url,labels\nDoor,rtsp://a/b,"{labels}"\n')
    [camera] = read_cameras(cameras)
    assert camera.labels == ("fall", "fight")


@given(content=st.text(alphabet='ab,;"\n\r\0:/ ', max_size=60))
def test_any_file_is_a_list_or_a_clear_error(content: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    cameras = tmp_path_factory.getbasetemp() / "any.csv"
    cameras.write_text(f"name,url\n{content}")
    try:
        names = [camera.name for camera in read_cameras(cameras)]
    except CameraListError:
        return
    assert len(set(names)) == len(names)
