"""End a connection whose bytes no longer yield packets."""

import socket
import threading
import time
from contextlib import suppress
from typing import Self

from model.video.connections import new_connection

# FFmpeg itself gives up a connection without any bytes, after the time limit.
LATER_THAN_SILENCE = 1.25


class ConnectionGuard:
    """Ends a connection that yields no packets for longer than the limit for a silent one.

    PyAV skips packets of streams that began after the source was opened, and does not return to its caller meanwhile.
    Close it with the connection.

    Args:
        connection: a duplicate of FFmpeg's socket.
        timeout_s: how long the connection may be silent.
    """

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection, self._limit_s = connection, timeout_s * LATER_THAN_SILENCE
        self._noted_at_s = time.monotonic()
        self._closed = threading.Event()
        self.has_ended_it = False
        self._thread = threading.Thread(target=self._watch, name="connection-guard", daemon=True)
        self._thread.start()

    @classmethod
    def find(cls, opened_before: frozenset[int], timeout_s: float) -> Self | None:
        """Return a guard of the TCP connection that was opened since then; None if there is not exactly one."""
        connection = new_connection(opened_before)
        return None if connection is None else cls(connection, timeout_s)

    def note_packet(self, now_s: float) -> None:
        """Note that a packet arrived, at a time on the monotonic clock."""
        self._noted_at_s = now_s

    def close(self) -> None:
        """Stop watching. Idempotent."""
        self._closed.set()
        self._thread.join()
        self._connection.close()

    def _watch(self) -> None:
        while (left_s := self._noted_at_s + self._limit_s - time.monotonic()) > 0:
            if self._closed.wait(left_s):
                return
        self.has_ended_it = True
        with suppress(OSError):  # the server was faster
            self._connection.shutdown(socket.SHUT_RDWR)
