"""Forks decoders from one prepared process, so that they share the memory of their imports: 18 MB each."""

import asyncio
import errno
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from service.decoder.fork_protocol import FORKED
from service.decoder.messages import DecoderDiedError, child_environment

# From the start of the process to its first reply, which takes a while on a busy machine.
REPLY_WITHIN_S = 60.0


class ForkServerEndedError(DecoderDiedError):
    """The process that decoders are forked from has ended, and its decoders with it."""


class ForkedProcess:
    """A process of another parent. This owns its pidfd, so signals never reach a later process with the same id."""

    def __init__(self, pid: int, parent_pid: int, pidfd: int) -> None:
        self.pid, self.parent_pid = pid, parent_pid
        self._pidfd: int | None = pidfd

    def kill(self) -> None:
        """End it now. Idempotent, also after its end."""
        if self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def wait(self) -> None:
        """Wait for its end. Call this only once."""
        assert self._pidfd is not None
        await _readable(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = None


class ForkServer:
    """The prepared process: started with the first decoder, and again if it died."""

    def __init__(self, reply_within_s: float = REPLY_WITHIN_S) -> None:
        self._reply_within_s = reply_within_s
        self._process: Process | None = None
        self._orders: socket.socket | None = None
        self._turn = asyncio.Lock()

    async def fork(self, files: Sequence[int]) -> ForkedProcess:
        """Fork a decoder with these files: standard input and output, and others from `FIRST_FD` on.

        The caller closes its own copies, and waits for the end of the process. Raises DecoderDiedError, OSError.
        """
        forking = asyncio.create_task(self._fork(files))
        try:
            return await asyncio.shield(forking)
        except asyncio.CancelledError:
            with suppress(DecoderDiedError, OSError):
                forked = await forking
                forked.kill()
                await forked.wait()
            raise

    async def close(self) -> None:
        """End the process, and with it decoders that still run."""
        if self._orders is not None:
            self._orders.close()
        if self._process is not None:
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    os.kill(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        self._process = self._orders = None

    async def _fork(self, files: Sequence[int]) -> ForkedProcess:
        async with self._turn:
            if self._process is not None:
                with suppress(ForkServerEndedError):
                    return await self._ask(self._process.pid, files)
            return await self._ask(await self._start(), files)

    async def _start(self) -> int:
        self._orders, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service.decoder.fork_server_child", str(os.getpid())),
                stdin=its.fileno(),
                stdout=DEVNULL,
                stderr=DEVNULL,
                env=child_environment(),
            )
        return self._process.pid

    async def _ask(self, pid: int, files: Sequence[int]) -> ForkedProcess:
        """The decoder that the process `pid` forks. A process that does not reply is ended: a late reply would be taken
        for the reply to the next order.
        """
        assert self._orders is not None
        try:
            socket.send_fds(self._orders, [b"f"], files)
            async with asyncio.timeout(self._reply_within_s):
                await _readable(self._orders.fileno())
            reply, pidfds, _, _ = socket.recv_fds(self._orders, FORKED.size, 1)
        except TimeoutError:
            await self.close()
            raise ForkServerEndedError(f"The decoder did not start within {self._reply_within_s:g} s.") from None
        except (BrokenPipeError, ConnectionResetError):
            reply = b""
        if not reply:
            await self.close()
            raise ForkServerEndedError("The process that decoders are forked from has ended.")
        (forked,) = FORKED.unpack(reply)
        if forked == -errno.ESRCH:
            raise DecoderDiedError("The decoder ended as soon as it was started.")
        if forked < 0:
            raise OSError(-forked, os.strerror(-forked))
        return ForkedProcess(forked, pid, pidfds[0])


@asynccontextmanager
async def open_fork_server(shared: ForkServer | None = None) -> AsyncIterator[ForkServer]:
    """A fork server for as long as the context lasts; `shared`, if given, outlasts it."""
    if shared is not None:
        yield shared
        return
    server = ForkServer()
    try:
        yield server
    finally:
        await server.close()


async def _readable(fd: int) -> None:
    loop, is_readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, is_readable.set)
    try:
        await is_readable.wait()
    finally:
        loop.remove_reader(fd)
