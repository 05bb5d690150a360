"""Between a client and its server: passes everything on, the answers later."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from service.background import race
from tests.support.restamping_proxy import pass_on


class DelayingProxy:
    """Made by `delaying_proxy`."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._serving: list[asyncio.Task[None] | None] = []
        self.port = 0
        self.delay_s = 0.0

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._serving.append(asyncio.current_task())
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        with suppress(ConnectionError):
            await race(pass_on(reader, server_writer), self._pass_on_later(server_reader, writer))
        for end in (writer, server_writer):
            end.close()

    async def _pass_on_later(self, reader: StreamReader, writer: StreamWriter) -> None:
        while chunk := await reader.read(65536):
            await asyncio.sleep(self.delay_s)
            writer.write(chunk)

    async def ended(self) -> None:
        """Wait until all connections are closed."""
        await asyncio.gather(*filter(None, self._serving))


@asynccontextmanager
async def delaying_proxy(server_port: int) -> AsyncIterator[DelayingProxy]:
    """A proxy of a server on this machine, at a free port."""
    proxy = DelayingProxy(server_port)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy
        await proxy.ended()
