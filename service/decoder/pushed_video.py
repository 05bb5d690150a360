"""The decoder's end of a pushed stream."""

import socket

from model.video.errors import VideoError
from service.push.protocol import HEADER

BROKE_OFF = "The pushed stream was interrupted. Push again, from the beginning of a stream."
SILENT = "The pushed stream sent no data for {:.0f} s. Check the sender and push again."


class PushedVideo:
    """The bytes of the video, as `model.video` reads them. An interrupted or stalled stream raises VideoError."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        connection.settimeout(timeout_s)
        self._connection = connection
        self._timeout_s = timeout_s
        self._left_bytes = 0
        self._is_over = False

    def read(self, max_bytes: int, /) -> bytes:
        """At least one byte; none at the end of the video."""
        if self._left_bytes == 0 and not self._is_over:
            (self._left_bytes,) = HEADER.unpack(self._header())
            self._is_over = self._left_bytes == 0
        if self._is_over:
            return b""
        data = self._receive(min(max_bytes, self._left_bytes))
        self._left_bytes -= len(data)
        return data

    def _header(self) -> bytes:
        header = b""
        while len(header) < HEADER.size:
            header += self._receive(HEADER.size - len(header))
        return header

    def _receive(self, max_bytes: int) -> bytes:
        try:
            data = self._connection.recv(max_bytes)
        except TimeoutError:
            self._is_over = True
            raise VideoError("source_unreachable", SILENT.format(self._timeout_s)) from None
        except ConnectionError:
            data = b""
        if not data:
            # FFmpeg may read again after a failure; it then gets only the end of the stream.
            self._is_over = True
            raise VideoError("source_unreachable", BROKE_OFF)
        return data
