"""The previous release, run at the same time as this one: its server and its worker, in separate processes.

`golden/release-0.1.tar.xz` holds what they import: `service` and `model` of the release's commit (2d9e933), without
the training code, weights, page and command line. A clone without history has no other copy of it.
"""

import asyncio
import json
import os
import sys
import tarfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.paths import GOLDEN
from tests.support.running_server import free_port

ARCHIVE = GOLDEN / "release-0.1.tar.xz"
SERVE = """
import sys, uvloop
from service.api.server import Server
from service.listening import listen
from service.settings import Settings
uvloop.run(Server(Settings()).serve(sockets=[listen("127.0.0.1", int(sys.argv[1]))]))
"""
WORK = "from service.worker import main; main()"
UNKNOWN_TO_MODELS = ("display_names", "framing", "mode", "settle_s", "start_rules_origin")
"""Fields of `model.json` that it rejects."""


@dataclass(frozen=True)
class PreviousRelease:
    """`environ` holds the settings of its processes."""

    folder: Path
    environ: Mapping[str, str]

    @asynccontextmanager
    async def server(self, data_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
        """A client of its server, which answers."""
        port = free_port()
        async with (
            self._running(data_dir, SERVE, str(port), CAKE_WORKERS="0") as process,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
        ):
            while not await _answers(client):
                assert process.returncode is None, self._log(data_dir).read_text()
                await asyncio.sleep(0.05)
            yield client

    @asynccontextmanager
    async def worker(self, data_dir: Path) -> AsyncIterator[Process]:
        """Its worker, which may still be loading its models."""
        async with self._running(data_dir, WORK, CAKE_WORKER_ID="previous") as process:
            yield process

    @asynccontextmanager
    async def _running(self, data_dir: Path, program: str, *arguments: str, **more: str) -> AsyncIterator[Process]:
        settings = {**self.environ, "CAKE_DATA_DIR": str(data_dir), **more}
        with self._log(data_dir).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", program, *arguments),
                cwd=self.folder,
                stdin=DEVNULL,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(self.folder), **settings},
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    def _log(self, data_dir: Path) -> Path:
        return data_dir.with_name(f"{data_dir.name}-previous.log")


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/livez")).status_code == 200
    except httpx.TransportError:
        return False


def unpack_previous_release(folder: Path, model: Path, **settings: str) -> PreviousRelease:
    """Into `folder`; it serves `model`, a checkpoint. `settings` are environment variables without their prefix."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    chosen = {"MODELS": json.dumps([str(model)]), "DEFAULT_MODEL": "tiny", "PRECISION": "float32", **settings}
    return PreviousRelease(folder, {f"CAKE_{name}": value for name, value in chosen.items()})


def forget_new_fields(checkpoint: Path) -> None:
    """Leave in `model.json` only what the previous release knows; each field has its default value there."""
    path = checkpoint / "model.json"
    config = json.loads(path.read_text())
    for name in UNKNOWN_TO_MODELS:
        del config[name]
    del config["head"]["motion_dim"]
    path.write_text(json.dumps(config))
