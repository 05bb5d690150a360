"""The parent's side of seccomp's notifications: what a confined process asks, and the answers.

Layouts and numbers are those of <linux/seccomp.h>.
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
class Question:
    """A system call that waits for its answer, with its six arguments."""

    id: int
    thread_id: int
    call: int
    arguments: tuple[int, ...]


class AskerGone(Exception):
    """The process that asked has died or was interrupted: no answer is wanted."""


def receive(listener: int) -> Question:
    """The next question. Raises AskerGone."""
    notification = bytearray(_NOTIFICATION.size)
    _ioctl(listener, _RECEIVE, notification)
    question_id, thread_id, _, call, _, _, *arguments = _NOTIFICATION.unpack(notification)
    return Question(question_id, thread_id, call, tuple(arguments))


def read_memory(listener: int, question: Question, address: int, length: int) -> bytes:
    """Bytes of the asker's memory. Raises AskerGone; OSError for an address that it does not have."""
    with _memory(question, os.O_RDONLY) as memory:
        content = os.pread(memory, length, address)
    # The thread's number may have gone to another process meanwhile; if not, these were the asker's bytes.
    _ioctl(listener, _ID_VALID, bytearray(struct.pack("Q", question.id)))
    if len(content) != length:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    return content


def write_memory(question: Question, address: int, content: bytes) -> None:
    """Change the asker's memory. Raises AskerGone; OSError for an address that it does not have."""
    with _memory(question, os.O_WRONLY) as memory:
        os.pwrite(memory, content, address)


def answer(listener: int, question: Question, result: int) -> None:
    """Let the call return `result`; minus an errno for an error. Raises AskerGone."""
    value, error = (result, 0) if result >= 0 else (0, result)
    _ioctl(listener, _SEND, bytearray(_RESPONSE.pack(question.id, value, error, 0)))


def answer_with_fd(listener: int, question: Question, fd: int, *, close_on_exec: bool) -> int:
    """Let the call return a copy of `fd`; gives its number in the asker. Raises AskerGone."""
    flags = os.O_CLOEXEC if close_on_exec else 0
    return _ioctl(listener, _ADD_FD, bytearray(_ADDED_FD.pack(question.id, _ADD_FD_AND_SEND, fd, 0, flags)))


@contextmanager
def _memory(question: Question, access: int) -> Iterator[int]:
    try:
        memory = os.open(f"/proc/{question.thread_id}/mem", access | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise AskerGone from error
    try:
        yield memory
    finally:
        os.close(memory)


def _ioctl(listener: int, request: int, argument: bytearray) -> int:
    try:
        result: int = fcntl.ioctl(listener, request, argument)
        return result
    except FileNotFoundError as error:
        raise AskerGone from error
