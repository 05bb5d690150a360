"""A disk that fills up: uploads stop first, and deletions and stops always work."""

import asyncio
import math
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from service.schemas import Session
from service.storage.disk import Disk
from service.store import database_bytes
from service.store.sqlite.disk_reserve import SIZE_BYTES, DiskReserve
from tests.support.api_kit import problem
from tests.support.running_server import child_server, running_server
from tests.support.small_disk import fill, has_small_disks, on_small_disk, seen_by
from tests.support.stopping_worker import __file__ as stopping_worker

URL_SESSION = {"source": {"url": "http://example.org/clip.mp4"}}


PROGRAM = Path(stopping_worker).read_text()


async def test_uploads_are_refused_below_the_low_water_mark(tmp_path: Path) -> None:
    async with running_server(tmp_path, min_free_bytes=2**62) as server:
        problem(await server.http.post("/v1/sessions", files={"file": b"video"}), 507, "storage_full")
        assert (await server.http.post("/v1/sessions", json=URL_SESSION)).status_code == 202


async def test_an_upload_that_would_reach_the_low_water_mark_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.error_responses.LINGER_BYTES", 100_000)
    mark = Disk(tmp_path, 0).free_bytes() - 20_000_000
    async with running_server(tmp_path, min_free_bytes=mark, max_upload_bytes=2**40) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http.base_url.port)
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {2**39}\r\n"
        writer.write(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 507")
        assert b"connection: close" in answer.lower()
        # Of the body, which may be large, only a part is read.
        writer.write(bytes(200_000))
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_the_free_space_is_a_metric(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        lines = (await server.http.get("/metrics")).text.splitlines()
    [value] = [float(line.split()[1]) for line in lines if line.startswith("cake_disk_free_bytes ")]
    assert value == pytest.approx(Disk(tmp_path, 0).free_bytes(), rel=0.1)


async def test_the_size_of_the_database_is_a_metric(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        lines = (await server.http.get("/metrics")).text.splitlines()
        size_bytes = (tmp_path / "cake.db").stat().st_size
    [value] = [float(line.split()[1]) for line in lines if line.startswith("cake_database_bytes ")]
    assert size_bytes <= value < 100 * size_bytes
    assert math.isnan(database_bytes("redis://localhost:6379/0"))


def test_the_reserve_holds_its_space_and_gives_it_back(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path / "reserve", 4096)
    for _ in range(2):
        assert reserve.restore()
        assert (tmp_path / "reserve").stat().st_size == 4096
    for left_bytes in (3072, 2048, 1024, 0, 0):
        reserve.release()
        assert (tmp_path / "reserve").stat().st_size == left_bytes


def test_the_part_of_the_reserve_that_a_write_leaves_is_reserved_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    if not has_small_disks(disk):
        pytest.skip("mounting a small disk needs user namespaces")
    program = f"""
from pathlib import Path
from service.store.sqlite.disk_reserve import DiskReserve
from tests.support.small_disk import fill
disk = Path({str(disk)!r})
reserve = DiskReserve(disk / "reserve", 400_000)
reserve.restore()
filler = fill(disk)
reserve.release()
(disk / "write").write_bytes(bytes(40_000))
print(reserve.restore(), (disk / "reserve").stat().st_size > 340_000)
filler.unlink()
print(reserve.restore(), (disk / "reserve").stat().st_size)
"""
    ran = subprocess.run(
        [*on_small_disk(disk, 1_000_000), sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == ["False True", "True 400000"]


@pytest.mark.slow
async def test_sessions_can_be_stopped_and_deleted_on_a_full_disk(tmp_path: Path) -> None:
    if not has_small_disks(tmp_path / "probe"):
        pytest.skip("mounting a small disk needs user namespaces")
    # Below the mark uploads cannot take the space that the database gives up.
    environ = {"CAKE_MIN_FREE_BYTES": str(SIZE_BYTES), "CAKE_MAX_QUEUED_SESSIONS": "1000"}
    size_bytes = SIZE_BYTES + 24_000_000
    async with (
        child_server(tmp_path / "data", worker=PROGRAM, disk_bytes=size_bytes, environ=environ) as child,
        httpx.AsyncClient(base_url=child.url, timeout=None) as client,
    ):
        await child.ready("/readyz")
        accepted = [await client.post("/v1/sessions", json=URL_SESSION)]
        accepted += [await client.post("/v1/sessions", files={"file": bytes(4_000_000)}) for _ in range(2)]
        disk = seen_by(child.process.pid, tmp_path / "data")
        filler = fill(disk)
        # The worker's write may have given up the reserve while the disk was being filled, which then took it.
        while (disk / "cake.db-reserve").stat().st_size < SIZE_BYTES:
            filler.unlink()
            await asyncio.sleep(0.1)
            filler = fill(disk)
        problem(await client.post("/v1/sessions", files={"file": bytes(4_000_000)}), 507, "storage_full")
        for path in [answer.headers["location"] for answer in accepted]:
            # Stopped by its worker or, where that has no room to claim it, at once.
            assert (await client.delete(path)).status_code in (202, 204), child.log.read_text()
            while (await session(client, path)).ended_at is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert (await client.delete(path)).status_code == 204, child.log.read_text()
        assert (await client.get("/v1/sessions")).json()["sessions"] == []
        filler.unlink()
        assert (await client.post("/v1/sessions", files={"file": bytes(4_000_000)})).status_code == 202


async def session(client: httpx.AsyncClient, path: str) -> Session:
    return Session.model_validate((await client.get(path)).json())
