"""The parent's side of seccomp's user notifications: which system calls a confined process waits for, and the replies.

Layouts and numbers are those of <linux/seccomp.h>. The target is the process that called.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_RECEIVE, _SEND, _ID_VALID, _ADD_FD = 0xC050_2100, 0xC018_2101, 0x4008_2102, 0x4018_2103
_NOTIFICATION = struct.Struct("QIIiIQ6Q")
_RESPONSE = struct.Struct("QqiI")
_ADDED_FD = struct.Struct("QIIII")
_ADD_FD_AND_SEND = 2


@dataclass(frozen=True)
class Notification:
    """A system call that waits for its reply, with its six arguments."""

    id: int
    thread_id: int
    call: int
    arguments: tuple[int, ...]


class TargetGoneError(Exception):
    """The target has died or its call was interrupted: no reply is needed."""


def receive(listener: int) -> Notification:
    """The next notification. Raises TargetGoneError."""
    received = bytearray(_NOTIFICATION.size)
    _ioctl(listener, _RECEIVE, received)
    notification_id, thread_id, _, call, _, _, *arguments = _NOTIFICATION.unpack(received)
    return Notification(notification_id, thread_id, call, tuple(arguments))


def read_memory(listener: int, notification: Notification, address: int, length: int) -> bytes:
    """Read the target's memory. Raises TargetGoneError; OSError for an address that is not mapped."""
    with _memory(notification, os.O_RDONLY) as memory:
        content = os.pread(memory, length, address)
    # The thread id may have been reused by another process; if the call still waits, these are the target's bytes.
    _ioctl(listener, _ID_VALID, bytearray(struct.pack("Q", notification.id)))
    if len(content) != length:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    return content


def write_memory(notification: Notification, address: int, content: bytes) -> None:
    """Write to the target's memory. Raises TargetGoneError; OSError for an address that is not mapped."""
    with _memory(notification, os.O_WRONLY) as memory:
        os.pwrite(memory, content, address)


def reply(listener: int, notification: Notification, result: int) -> None:
    """Let the call return `result`; a negative errno for an error. Raises TargetGoneError."""
    value, error = (result, 0) if result >= 0 else (0, result)
    _ioctl(listener, _SEND, bytearray(_RESPONSE.pack(notification.id, value, error, 0)))


def inject_fd(listener: int, notification: Notification, fd: int, *, close_on_exec: bool) -> int:
    """Let the call return a copy of `fd`; returns its number in the target. Raises TargetGoneError."""
    flags = os.O_CLOEXEC if close_on_exec else 0
    return _ioctl(listener, _ADD_FD, bytearray(_ADDED_FD.pack(notification.id, _ADD_FD_AND_SEND, fd, 0, flags)))


@contextmanager
def _memory(notification: Notification, access: int) -> Iterator[int]:
    try:
        memory = os.open(f"/proc/{notification.thread_id}/mem", access | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise TargetGoneError from error
    try:
        yield memory
    finally:
        os.close(memory)


def _ioctl(listener: int, request: int, argument: bytearray) -> int:
    try:
        result: int = fcntl.ioctl(listener, request, argument)
        return result
    except FileNotFoundError as error:
        raise TargetGoneError from error
