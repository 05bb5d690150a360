"""The parent's end of the messages of a child process, for all children that read videos."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from service.decoder.protocol import HEADER

# Room for a few frames, so that decoding and detection overlap.
PIPE_BYTES = 256 * 1024
# What the parent buffers beyond the pipe. A full buffer pauses reading; the full pipe then pauses the child.
BUFFER_BYTES = 256 * 1024
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
T = TypeVar("T", bound=asyncio.BaseTransport)


class DecoderDiedError(Exception):
    """The child ended without a message: it was killed, crashed, or ran out of memory."""


@asynccontextmanager
async def message_pipe() -> AsyncIterator[tuple[asyncio.StreamReader, BinaryIO]]:
    """A pipe's reader and the end that the child writes to. Not asyncio's own: uvloop would take a socket, whose
    buffers differ and which costs more.
    """
    reading_fd, writing_fd = os.pipe()
    with suppress(PermissionError):  # the user's quota of pipe memory is used up; a small pipe works as well
        fcntl.fcntl(writing_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with os.fdopen(writing_fd, "wb") as writing:
        messages = asyncio.StreamReader(limit=BUFFER_BYTES)
        transport = await _connected(
            asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(messages), os.fdopen(reading_fd, "rb", buffering=0)
            )
        )
        try:
            yield messages, writing
        finally:
            transport.close()


@asynccontextmanager
async def order_pipe() -> AsyncIterator[tuple[asyncio.WriteTransport, BinaryIO]]:
    """A pipe for the parent's requests: the parent's writer and the end that the child reads."""
    reading_fd, writing_fd = os.pipe()
    with os.fdopen(reading_fd, "rb", buffering=0) as reading:
        transport = await _connected(
            asyncio.get_running_loop().connect_write_pipe(
                asyncio.BaseProtocol, os.fdopen(writing_fd, "wb", buffering=0)
            )
        )
        try:
            yield transport, reading
        finally:
            transport.close()


async def _connected(connecting: Coroutine[object, object, tuple[T, object]]) -> T:
    """The transport of a pipe. After a cancellation, uvloop would close the pipe, and its file object would later close
    the same number again, which may belong to another file by then.
    """
    task = asyncio.create_task(connecting)
    try:
        transport, _ = await asyncio.shield(task)
    except asyncio.CancelledError:
        (await task)[0].close()
        raise
    return transport


async def read_message(messages: asyncio.StreamReader, within_s: float) -> tuple[bytes, bytes]:
    """The kind and payload of the next message. Raises TimeoutError, DecoderDiedError."""
    try:
        async with asyncio.timeout(within_s):
            kind, length = HEADER.unpack(await messages.readexactly(HEADER.size))
            if length > MAX_MESSAGE_BYTES:
                raise DecoderDiedError(f"The decoder announced a message of {length} bytes.")
            return kind, await messages.readexactly(length)
    except asyncio.IncompleteReadError:
        raise DecoderDiedError("The decoder ended without a message.") from None


def child_environment() -> dict[str, str]:
    """All environment variables of the child: where this package is, and settings that keep the child small."""
    return {"PYTHONPATH": str(Path(__file__).parents[2]), "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
