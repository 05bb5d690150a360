"""Makes a decoder's connections for it, to addresses that the policy permits and to no others.

The decoder never opens a connection. Each of its sockets is created here and injected into it. The address that it
wants to connect or send to is copied once, checked, and used here exactly as it was checked. It therefore does not
matter how the decoder got the address: by name, redirect, playlist or otherwise.
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
from service.confinement.notifications import Notification, TargetGoneError
from service.confinement.system_calls import system_calls
from service.sources.address_policy import AddressPolicy, IPAddress

MAX_DATAGRAM_BYTES = 65_536
MAX_DATAGRAMS = 8
MAX_SOCKETS = 64
# Limits a call that could otherwise block this decoder's thread in this process forever.
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
    """Serves one decoder, in a separate thread, until the decoder has ended.

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
        """Addresses that the decoder was refused, in order."""
        return tuple(self._refused)

    def start(self) -> None:
        """Start the thread that serves the decoder."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the thread, which follows that of the decoder."""
        self._thread.join()

    def _serve(self) -> None:
        with self._channel:
            _, listeners, _, _ = socket.recv_fds(self._channel, 16, 1)
        if not listeners:
            return
        [listener] = listeners
        try:
            self._reply_all(listener)
        except Exception:
            # A bug. After the listener is closed, every further call of the decoder fails.
            _log.exception("connection broker failed")
        finally:
            os.close(listener)
            for sock in self._sockets.values():
                sock.close()

    def _reply_all(self, listener: int) -> None:
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        while True:
            [(_, events)] = poller.poll()
            if not events & select.POLLIN:
                return
            with suppress(TargetGoneError):
                self._reply(listener, notifications.receive(listener))

    def _reply(self, listener: int, notification: Notification) -> None:
        try:
            if notification.call == self._calls["socket"]:
                self._inject_socket(listener, notification)
                return
            result = self._reach_out(listener, notification)
        except OSError as error:
            result = -(error.errno or errno.EIO)
        notifications.reply(listener, notification, result)

    def _inject_socket(self, listener: int, notification: Notification) -> None:
        family, kind, protocol = (argument & 0xFFFF_FFFF for argument in notification.arguments[:3])
        if (kind & ~_FLAGS, protocol) not in _KINDS:
            raise PermissionError(errno.EACCES, "neither TCP nor UDP")
        if len(self._sockets) >= MAX_SOCKETS:
            raise OSError(errno.EMFILE, "too many sockets")
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", SEND_WITHIN_S, 0))
        try:
            close_on_exec = bool(kind & socket.SOCK_CLOEXEC)
            fd = notifications.inject_fd(listener, notification, sock.fileno(), close_on_exec=close_on_exec)
        except (OSError, TargetGoneError):
            sock.close()
            raise
        # The decoder has closed the socket that had this number before.
        if fd in self._sockets:
            self._sockets[fd].close()
        self._sockets[fd] = sock

    def _reach_out(self, listener: int, notification: Notification) -> int:
        fd, *arguments = notification.arguments
        sock = self._sockets.get(fd & 0xFFFF_FFFF)
        if sock is None:
            raise PermissionError(errno.EACCES, "not a socket of the broker")
        if notification.call == self._calls["connect"]:
            return -sock.connect_ex(self._checked(listener, notification, arguments[0], arguments[1]))
        if notification.call == self._calls["sendto"]:
            data = self._read(listener, notification, arguments[0], min(arguments[1], MAX_DATAGRAM_BYTES))
            return sock.sendto(data, arguments[2], self._checked(listener, notification, arguments[3], arguments[4]))
        if notification.call == self._calls["sendmsg"]:
            return self._send_message(listener, notification, sock, arguments[0], arguments[1])
        return self._send_messages(listener, notification, sock)

    def _send_messages(self, listener: int, notification: Notification, sock: socket.socket) -> int:
        _, array, count, flags, *_ = notification.arguments
        for index in range(min(count & 0xFFFF_FFFF, MAX_DATAGRAMS)):
            address = array + index * _MESSAGE_IN_ARRAY_BYTES
            sent = self._send_message(listener, notification, sock, address, flags)
            notifications.write_memory(notification, address + _MESSAGE.size, struct.pack("I", sent))
        return min(count, MAX_DATAGRAMS)

    def _send_message(
        self, listener: int, notification: Notification, sock: socket.socket, address: int, flags: int
    ) -> int:
        name, name_length, blocks, block_count, *_ = _MESSAGE.unpack(
            self._read(listener, notification, address, _MESSAGE.size)
        )
        layout = self._read(listener, notification, blocks, min(block_count, 64) * _BLOCK.size)
        data = bytearray()
        for start, length in _BLOCK.iter_unpack(layout):
            if len(data) + length > MAX_DATAGRAM_BYTES:
                raise OSError(errno.EMSGSIZE, "message too long")
            data += self._read(listener, notification, start, length)
        if name == 0:
            return sock.send(data, flags & 0xFFFF_FFFF)
        return sock.sendto(data, flags & 0xFFFF_FFFF, self._checked(listener, notification, name, name_length))

    def _checked(self, listener: int, notification: Notification, address: int, length: int) -> Address:
        """Copy an address from the decoder's memory, once, and check it. Raises PermissionError."""
        copied = self._read(listener, notification, address, min(length & 0xFFFF_FFFF, _MAX_ADDRESS_BYTES))
        host, port, zone = _parsed(copied)
        if not self._policy.permits(host, port):
            if len(self._refused) < MAX_SOCKETS:
                self._refused[host] = None
            raise PermissionError(errno.EACCES, "address not permitted")
        return (str(host), port) if host.version == 4 else (str(host), port, 0, zone)

    def _read(self, listener: int, notification: Notification, address: int, length: int) -> bytes:
        return notifications.read_memory(listener, notification, address, length) if length else b""


def _parsed(address: bytes) -> tuple[IPAddress, int, int]:
    """Host, port and zone of a `struct sockaddr`. Raises OSError for one that is neither IPv4 nor IPv6."""
    family = int.from_bytes(address[:2], "little")
    port = int.from_bytes(address[2:4], "big")
    if family == socket.AF_INET and len(address) >= 8:
        return IPv4Address(address[4:8]), port, 0
    if family == socket.AF_INET6 and len(address) >= 28:
        return IPv6Address(address[8:24]), port, int.from_bytes(address[24:28], "little")
    raise OSError(errno.EAFNOSUPPORT, "address family not supported")
