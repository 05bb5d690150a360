"""Uvicorn's HTTP, for clients that hang up as soon as they have sent everything, as FFmpeg does."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class PatientProtocol(HttpToolsProtocol):
    """Lets the application read a body that has arrived whole. Uvicorn's own throws away what was not read by then."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        cycle = self.cycle
        # While reading is paused more of the body may be on its way, which a lost connection cannot bring any more.
        if cycle is not None and cycle.body and not cycle.more_body and not self.flow.read_paused:
            cycle.disconnected = False
            cycle.transport = _HungUp()


class _HungUp(asyncio.Transport):
    """Nobody hears the answer."""

    def write(self, _data: bytes | bytearray | memoryview) -> None:
        """Thrown away."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        """It is closed."""
