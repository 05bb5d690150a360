"""Uvicorn's WebSocket protocol, which logs an error for each handshake that the application rejects."""

from typing import TYPE_CHECKING

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class RejectingProtocol(WebSocketsSansIOProtocol):
    """Treats a rejection, such as 401 or 429, as the end of the handshake. Uvicorn's own protocol takes the
    application for one that failed, and logs that (Kludex/uvicorn#3138): clients could fill the log with errors.
    """

    async def send(self, message: "ASGISendEvent") -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True
