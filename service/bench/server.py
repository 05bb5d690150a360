"""Starts the real server for a measurement, and stops it afterwards."""

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

READY_S = 120.0
STOP_S = 15.0


class ServerFailedError(Exception):
    """The server did not start. The message ends with its log."""


@dataclass(frozen=True)
class RunningServer:
    """A server process that accepts sessions."""

    client: httpx.AsyncClient
    pid: int
    ready_after_s: float
    """Seconds from its start until it accepted sessions."""

    def websocket_url(self, path: str) -> str:
        """The `ws:` address of a path."""
        return f"ws{str(self.client.base_url).removeprefix('http').rstrip('/')}{path}"


@asynccontextmanager
async def running_server(
    data_dir: Path, environ: Mapping[str, str], *, core: int | None = None
) -> AsyncIterator[RunningServer]:
    """Run `cake serve` with one worker on a free port, and wait until it is ready; on one `core` if given."""
    began_s = time.monotonic()
    log = data_dir / "serve.log"
    command = (
        sys.executable,
        "-m",
        "service.cli.main",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--data-dir",
        str(data_dir),
    )
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=PIPE,
            stderr=stderr,
            env={**os.environ, "CAKE_AUTH": "off", "CAKE_MAX_STREAMS": "100000", **environ},
        )
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})  # what it starts inherits this
        assert process.stdout is not None
        # "CAKE is at URL (…)"
        line = (await process.stdout.readline()).decode().split()
        if len(line) < 4:
            raise ServerFailedError(f"The server did not start. {_tail(log)}")
        async with httpx.AsyncClient(base_url=line[3], timeout=30, trust_env=False) as client:
            await _ready(client, log)
            yield RunningServer(client, process.pid, round(time.monotonic() - began_s, 2))
    finally:
        if process.returncode is None:
            process.terminate()
        exited = asyncio.create_task(process.wait())
        await asyncio.wait([exited], timeout=STOP_S)
        if process.returncode is None:
            process.kill()
        await exited


async def _ready(client: httpx.AsyncClient, log: Path) -> None:
    try:
        async with asyncio.timeout(READY_S):
            while (await client.get("/readyz")).status_code != httpx.codes.OK:  # noqa: ASYNC110 - asking is all one can do
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise ServerFailedError(f"The server was not ready after {READY_S:.0f} s. {_tail(log)}") from error


def _tail(log: Path) -> str:
    return f"Its log ends: {log.read_text(errors='replace')[-1000:]}"
