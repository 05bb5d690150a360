"""A child process that is killed, stopped and started again, perhaps with its own small disk."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.support.small_disk import fill, on_small_disk, seen_by

DISK_BYTES = 96 * 1024**2
READY_WITHIN_S = 180.0


class FailedRunError(Exception):
    """Something is so wrong that the run cannot continue."""


class Program:
    """A server or a worker of the product. Its log stays in `folder`; what it writes is lost when it ends."""

    def __init__(
        self, name: str, arguments: tuple[str, ...], url: str, folder: Path, environ: Mapping[str, str], *, disk: bool
    ) -> None:
        """`arguments`: a module of the product and its arguments."""
        self.name = name
        self.url = url
        self._arguments = arguments
        self._data_dir = folder / name
        self._log = folder / f"{name}.log"
        self._environ = {**os.environ, **environ, "CAKE_DATA_DIR": str(self._data_dir)}
        self._disk = disk
        self._process: Process | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Begun; `ready` waits for it."""
        prefix = on_small_disk(self._data_dir, DISK_BYTES) if self._disk else ()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*prefix, sys.executable, "-m", *self._arguments),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
            )

    async def ready(self, path: str) -> None:
        """Raises FailedRunError."""
        try:
            async with asyncio.timeout(READY_WITHIN_S), httpx.AsyncClient(timeout=10) as http:
                while not await self._answers(http, path):
                    if not self.is_running:
                        raise FailedRunError(
                            f"{self.name} ended unexpectedly; the end of its log:\n{self._end_of_log()}"
                        )
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise FailedRunError(f"{self.name} was not ready within {READY_WITHIN_S:.0f} s") from error

    @property
    def has_ended_by_itself(self) -> bool:
        return self._process is not None and self._process.returncode not in (None, -signal.SIGKILL)

    async def kill(self) -> None:
        """At once, also when it is stopped. Idempotent."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def stop(self) -> None:
        """Let it do nothing, with its connections open."""
        self._running().send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    async def fill_disk(self) -> Path:
        """The file that fills it."""
        return await asyncio.to_thread(fill, seen_by(self._running().pid, self._data_dir))

    async def _answers(self, http: httpx.AsyncClient, path: str) -> bool:
        try:
            return (await http.get(f"{self.url}{path}")).status_code == 200
        except httpx.TransportError:
            return False

    def _end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    def _running(self) -> Process:
        assert self._process is not None
        return self._process
