"""Look at the RTP packets of a connection before FFmpeg reads them: is the next one the last of its frame?

FFmpeg does not pass on the marks of RTP packets. It reads an RTSP connection without buffering, one interleaved packet
after another (RFC 2326, section 10.12). The packet that it will read next is therefore at the head of the connection's
buffer in the kernel, where it can be read without removing it.
"""

import select
import socket
import time
from typing import Self

from model.video.connections import new_connection
from model.video.errors import NO_ANSWER, VideoError

# A dollar, the channel, the length of the packet; then its flags, its mark and type, and its number.
_FRAMING_BYTES, _HEAD_BYTES = 4, 8
# This many bytes distinguish one packet or reply from the next.
_TELLING_BYTES = 32
_PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT
# Types of control packets (RFC 5761) without the bit that marks media packets.
_CONTROL_TYPES = range(64, 96)
# More control packets and replies in a row than any camera sends.
_MAX_SKIPPED = 8
_MAX_REPLY_BYTES = 4096


class RtpMarks:
    """The marks of the packets on one connection. Close it with the connection.

    Args:
        connection: a duplicate of FFmpeg's socket.
        timeout_s: how long the connection may be silent.
    """

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self._poller = select.poll()
        self._poller.register(connection, select.POLLIN)
        self._head = b""

    @classmethod
    def find(cls, opened_before: frozenset[int], timeout_s: float) -> Self | None:
        """Return the marks of the TCP connection that was opened since then; None if there is not exactly one."""
        connection = new_connection(opened_before)
        return None if connection is None else cls(connection, timeout_s)

    def close(self) -> None:
        """Release the connection. Idempotent."""
        self._connection.close()

    def next(self) -> bool | None:
        """Wait for the next media packet, and return whether it is marked; None if unknown.

        Raises:
            VideoError: the connection is silent.
        """
        until_s = time.monotonic() + self._timeout_s
        at = 0
        for _ in range(_MAX_SKIPPED):
            packet = self._head if not at and len(self._head) >= _HEAD_BYTES else self._peek(at, until_s)
            if not at:
                self._head = packet
            if len(packet) < _HEAD_BYTES:
                return None
            if packet[0] != ord("$"):
                skipped = self._reply_bytes(at)
            elif packet[5] & 0x7F in _CONTROL_TYPES:
                skipped = _FRAMING_BYTES + int.from_bytes(packet[2:4])
            else:
                return packet[5] >= 0x80
            if not skipped:
                return None
            at += skipped
        return None

    def was_read(self) -> bool:
        """Return whether FFmpeg has read from the connection since `next`. FFmpeg may have returned an earlier packet.

        Call this after each packet.
        """
        before = self._head
        try:
            self._head = self._connection.recv(_TELLING_BYTES, _PEEK)
        except OSError:
            self._head = b""
        return not self._head.startswith(before)

    def _peek(self, at: int, until_s: float) -> bytes:
        """Return the beginning of the packet at a distance from the head; less at the end of the stream."""
        needed, seen = at + _HEAD_BYTES, b""
        while True:
            before = len(seen)
            try:
                seen = self._connection.recv(at + _TELLING_BYTES, _PEEK)
            except BlockingIOError:
                pass
            except OSError:
                # FFmpeg will encounter it as well.
                return b""
            else:
                if len(seen) >= needed or len(seen) == before:
                    return seen[at:]
            self._wait(needed if seen else 1, until_s)

    def _wait(self, count: int, until_s: float) -> None:
        """Wait until `count` bytes are there, or the stream ends."""
        if count > 1:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
        try:
            if not self._poller.poll(max(0.0, until_s - time.monotonic()) * 1000):
                raise VideoError("source_timeout", NO_ANSWER)
        finally:
            if count > 1:
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def _reply_bytes(self, at: int) -> int:
        """Return the length of a reply without a body at a distance from the head; 0 if there is none."""
        try:
            reply = self._connection.recv(at + _MAX_REPLY_BYTES, _PEEK)[at:]
        except OSError:
            return 0
        head, end, _ = reply.partition(b"\r\n\r\n")
        return len(head) + len(end) if end else 0
