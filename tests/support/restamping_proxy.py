"""Between a decoder and an RTSP server: the stream passes over TCP as it is, but with other RTP timestamps."""

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from service.background import race

RTP_HZ = 90_000
"""The clock of RTP timestamps of video."""
VIDEO_CHANNEL = 0
Restamp = Callable[[float], float | None]
"""A timestamp that the server made -> the one to pass on, both in seconds; None to drop the packet."""


@asynccontextmanager
async def restamping_proxy(server_port: int, restamp: Restamp) -> AsyncIterator[int]:
    """Gives its port."""
    serving: list[asyncio.Task[None] | None] = []

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        serving.append(asyncio.current_task())
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", server_port)
        # Whichever of the two ends goes first.
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await race(pass_on(reader, server_writer), _restamped(server_reader, writer, restamp))
        for end in (writer, server_writer):
            end.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*filter(None, serving))


async def pass_on(reader: StreamReader, writer: StreamWriter) -> None:
    """All that comes, as it is."""
    while chunk := await reader.read(4096):
        writer.write(chunk)


async def _restamped(reader: StreamReader, writer: StreamWriter, restamp: Restamp) -> None:
    """Answers in text and packets in frames that begin with a dollar: RFC 2326, section 10.12."""
    while True:
        first = await reader.readexactly(1)
        if first != b"$":
            head = first + await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            writer.write(head + await reader.readexactly(int(length[1]) if length else 0))
            continue
        head = await reader.readexactly(3)
        packet = bytearray(await reader.readexactly(int.from_bytes(head[1:])))
        if head[0] == VIDEO_CHANNEL:
            stamp_s = restamp(int.from_bytes(packet[4:8]) / RTP_HZ)
            if stamp_s is None:
                continue
            packet[4:8] = (round(stamp_s * RTP_HZ) % 2**32).to_bytes(4)
        writer.write(first + head + packet)
