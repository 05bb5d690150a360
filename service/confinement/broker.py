"""Makes a decoder's connections for it, to addresses that the policy permits and to no others.

The decoder never connects by itself: each of its sockets is made here and lent to it, and what it asks to connect to,
or to send to, is read once, judged, and done here with the very address that was judged. So it does not matter how the
decoder came to the address: by name, redirect, playlist or otherwise.
"""

import errno
import os
import select
import socket
import struct
import threading
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import structlog

from service.confinement import notifications
from service.confinement.address_policy import AddressPolicy, IPAddress
from service.confinement.notifications import AskerGone, Question
from service.confinement.syscall_filter import system_calls

MAX_DATAGRAM_BYTES = 65_536
MAX_DATAGRAMS = 8
MAX_SOCKETS = 64
# A call that would wait for ever makes the decoder's own thread of this process wait no longer than this.
SEND_WITHIN_S = 10
_MAX_ADDRESS_BYTES = 128
_KINDS = frozenset({(socket.SOCK_STREAM, 0), (socket.SOCK_STREAM, 6), (socket.SOCK_DGRAM, 0), (socket.SOCK_DGRAM, 17)})
_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
# struct msghdr: name, its length, blocks, their number, control data, its length, flags.
_MESSAGE = struct.Struct("QI4xQQQQi4x")
_MESSAGE_IN_ARRAY_BYTES = _MESSAGE.size + 8
_BLOCK = struct.Struct("QQ")
Address = tuple[str, int] | tuple[str, int, int, int]

_log = structlog.get_logger(__name__)


class ConnectionBroker:
    """Serves one decoder, in a thread of its own, until the decoder is gone.

    `channel`: the end of a socket pair whose other end the decoder has.
    """

    def __init__(self, policy: AddressPolicy, channel: socket.socket) -> None:
        self._policy = policy
        self._channel = channel
        self._calls = system_calls()
        self._sockets: dict[int, socket.socket] = {}
        self._refused: dict[IPAddress, None] = {}
        self._thread = threading.Thread(target=self._serve, name="connection-broker", daemon=True)

    @property
    def refused(self) -> tuple[IPAddress, ...]:
        """Addresses that the decoder wanted and did not get, in the order of its asking."""
        return tuple(self._refused)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, which follows that of the decoder."""
        self._thread.join()

    def _serve(self) -> None:
        with self._channel:
            _, listeners, _, _ = socket.recv_fds(self._channel, 16, 1)
        if not listeners:
            return
        [listener] = listeners
        try:
            self._answer_all(listener)
        except Exception:
            # A defect of ours. Closing the listener lets every further call of the decoder fail.
            _log.exception("connection broker failed")
        finally:
            os.close(listener)
            for lent in self._sockets.values():
                lent.close()

    def _answer_all(self, listener: int) -> None:
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        while True:
            [(_, events)] = poller.poll()
            if not events & select.POLLIN:
                return
            with suppress(AskerGone):
                self._answer(listener, notifications.receive(listener))

    def _answer(self, listener: int, question: Question) -> None:
        try:
            if question.call == self._calls.socket:
                self._lend_socket(listener, question)
                return
            result = self._reach_out(listener, question)
        except OSError as error:
            result = -(error.errno or errno.EIO)
        notifications.answer(listener, question, result)

    def _lend_socket(self, listener: int, question: Question) -> None:
        family, kind, protocol = (argument & 0xFFFF_FFFF for argument in question.arguments[:3])
        if (kind & ~_FLAGS, protocol) not in _KINDS:
            raise PermissionError(errno.EACCES, "neither TCP nor UDP")
        if len(self._sockets) >= MAX_SOCKETS:
            raise OSError(errno.EMFILE, "too many sockets")
        lent = socket.socket(family, kind, protocol)
        lent.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", SEND_WITHIN_S, 0))
        try:
            close_on_exec = bool(kind & socket.SOCK_CLOEXEC)
            fd = notifications.answer_with_fd(listener, question, lent.fileno(), close_on_exec=close_on_exec)
        except (OSError, AskerGone):
            lent.close()
            raise
        # The decoder has closed what had this number before.
        if fd in self._sockets:
            self._sockets[fd].close()
        self._sockets[fd] = lent

    def _reach_out(self, listener: int, question: Question) -> int:
        fd, *arguments = question.arguments
        lent = self._sockets.get(fd & 0xFFFF_FFFF)
        if lent is None:
            raise PermissionError(errno.EACCES, "not a socket from here")
        if question.call == self._calls.connect:
            return -lent.connect_ex(self._judged(listener, question, arguments[0], arguments[1]))
        if question.call == self._calls.sendto:
            data = self._read(listener, question, arguments[0], min(arguments[1], MAX_DATAGRAM_BYTES))
            return lent.sendto(data, arguments[2], self._judged(listener, question, arguments[3], arguments[4]))
        if question.call == self._calls.sendmsg:
            return self._send_message(listener, question, lent, arguments[0], arguments[1])
        return self._send_messages(listener, question, lent)

    def _send_messages(self, listener: int, question: Question, lent: socket.socket) -> int:
        _, array, count, flags, *_ = question.arguments
        for index in range(min(count & 0xFFFF_FFFF, MAX_DATAGRAMS)):
            address = array + index * _MESSAGE_IN_ARRAY_BYTES
            sent = self._send_message(listener, question, lent, address, flags)
            notifications.write_memory(question, address + _MESSAGE.size, struct.pack("I", sent))
        return min(count, MAX_DATAGRAMS)

    def _send_message(self, listener: int, question: Question, lent: socket.socket, address: int, flags: int) -> int:
        name, name_length, blocks, block_count, *_ = _MESSAGE.unpack(
            self._read(listener, question, address, _MESSAGE.size)
        )
        layout = self._read(listener, question, blocks, min(block_count, 64) * _BLOCK.size)
        data = bytearray()
        for start, length in _BLOCK.iter_unpack(layout):
            if len(data) + length > MAX_DATAGRAM_BYTES:
                raise OSError(errno.EMSGSIZE, "message too long")
            data += self._read(listener, question, start, length)
        if name == 0:
            return lent.send(data, flags & 0xFFFF_FFFF)
        return lent.sendto(data, flags & 0xFFFF_FFFF, self._judged(listener, question, name, name_length))

    def _judged(self, listener: int, question: Question, address: int, length: int) -> Address:
        """An address in the decoder's memory, copied once and permitted. Raises PermissionError."""
        copied = self._read(listener, question, address, min(length & 0xFFFF_FFFF, _MAX_ADDRESS_BYTES))
        host, port, zone = _parsed(copied)
        if not self._policy.permits(host, port):
            if len(self._refused) < MAX_SOCKETS:
                self._refused[host] = None
            raise PermissionError(errno.EACCES, "address not permitted")
        return (str(host), port) if host.version == 4 else (str(host), port, 0, zone)

    def _read(self, listener: int, question: Question, address: int, length: int) -> bytes:
        return notifications.read_memory(listener, question, address, length) if length else b""


def _parsed(address: bytes) -> tuple[IPAddress, int, int]:
    """Host, port and zone of a `struct sockaddr`. Raises OSError for one that is neither IPv4 nor IPv6."""
    family = int.from_bytes(address[:2], "little")
    port = int.from_bytes(address[2:4], "big")
    if family == socket.AF_INET and len(address) >= 8:
        return IPv4Address(address[4:8]), port, 0
    if family == socket.AF_INET6 and len(address) >= 28:
        return IPv6Address(address[8:24]), port, int.from_bytes(address[24:28], "little")
    raise OSError(errno.EAFNOSUPPORT, "address family not supported")
