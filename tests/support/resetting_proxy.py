"""Between a client and its server: passes everything on, until it resets all connections as a router that lost them."""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from service.background import race
from tests.support.restamping_proxy import pass_on

CLOSE_WITH_RESET = struct.pack("ii", 1, 0)


class ResettingProxy:
    """Made by `resetting_proxy`."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._clients: dict[StreamWriter, asyncio.Task[None] | None] = {}
        self.port = 0

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._clients[writer] = asyncio.current_task()
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        with suppress(ConnectionError):
            await race(pass_on(reader, server_writer), pass_on(server_reader, writer))
        for end in (writer, server_writer):
            end.close()

    async def reset(self) -> None:
        """All connections, as they are now."""
        clients, self._clients = self._clients, {}
        for writer in clients:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_WITH_RESET)
            writer.transport.abort()
        await asyncio.gather(*filter(None, clients.values()))


@asynccontextmanager
async def resetting_proxy(server_port: int) -> AsyncIterator[ResettingProxy]:
    """A proxy of a server on this machine, at a free port."""
    proxy = ResettingProxy(server_port)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy
        await proxy.reset()
