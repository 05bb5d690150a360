"""The decoder's side: a seccomp filter through which no connection is made but by the parent.

Every call that makes an internet socket, or says where its bytes go, waits for the parent's answer
(seccomp_unotify(2), Linux 5.14); sockets of other families, servers, new programs and ways around the filter are
refused. It cannot be taken off, and needs no privilege.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_NEW_LISTENER = 1, 8
_ASK_PARENT, _ALLOW, _REFUSE = 0x7FC0_0000, 0x7FFF_0000, 0x0005_0000
# Classic BPF: load a 32-bit word of `struct seccomp_data`, jump when equal, jump when not less, return.
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_BIT = 0x4000_0000


@dataclass(frozen=True)
class Calls:
    """Numbers of the system calls of one architecture, and its name in the audit interface."""

    audit_architecture: int
    seccomp: int
    socket: int
    connect: int
    sendto: int
    sendmsg: int
    sendmmsg: int
    refused: tuple[int, ...]
    """listen, accept, accept4, execve, execveat, ptrace, process_vm_readv, process_vm_writev, pidfd_getfd, io_uring."""


_CALLS = {
    "x86_64": Calls(0xC000_003E, 317, 41, 42, 44, 46, 307, (50, 43, 288, 59, 322, 101, 310, 311, 438, 425, 426, 427)),
    "aarch64": Calls(
        0xC000_00B7, 277, 198, 203, 206, 211, 269, (201, 202, 242, 221, 281, 117, 270, 271, 438, 425, 426, 427)
    ),
}


class ConfinementUnavailable(Exception):
    """This kernel, or the sandbox around this process, does not let a process confine itself."""


def system_calls() -> Calls:
    """Of this machine. Raises ConfinementUnavailable where they are not known."""
    machine = platform.machine()
    if machine not in _CALLS:
        raise ConfinementUnavailable(f"decoders cannot be confined on {machine}")
    return _CALLS[machine]


def refuse_network() -> None:
    """From now on this process has no network at all. Raises ConfinementUnavailable."""
    _install(_program(system_calls(), _REFUSE | errno.EACCES), 0)


def ask_parent_for_connections(channel: socket.socket) -> None:
    """From now on the parent makes this process's connections; it gets the filter's listener through `channel`.

    Raises ConfinementUnavailable.
    """
    listener = _install(_program(system_calls(), _ASK_PARENT, channel.fileno()), _SECCOMP_FILTER_FLAG_NEW_LISTENER)
    socket.send_fds(channel, [b"listener"], [listener])
    os.close(listener)
    channel.close()


def _install(program: bytes, flags: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise ConfinementUnavailable(f"no_new_privs: {os.strerror(ctypes.get_errno())}")
    listener: int = libc.syscall(system_calls().seccomp, _SECCOMP_SET_MODE_FILTER, flags, header)
    if listener < 0:
        raise ConfinementUnavailable(f"seccomp: {os.strerror(ctypes.get_errno())}")
    return listener


def _program(calls: Calls, network: int, channel_fd: int = -1) -> bytes:
    """The filter. `network`: what becomes of calls that reach out; `channel_fd` alone may send freely."""
    refuse = _REFUSE | errno.EPERM
    return b"".join(
        [
            _step(_LOAD, _ARCHITECTURE_AT),
            _unless(calls.audit_architecture, refuse),
            _step(_LOAD, _NUMBER_AT),
            _step(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1) + _step(_RETURN, refuse),
            *(_when(number, refuse) for number in calls.refused),
            _when(calls.connect, network),
            _when(calls.sendmmsg, network),
            _for_call(calls.sendmsg, _argument(0) + _when(channel_fd & 0xFFFF_FFFF, _ALLOW) + _step(_RETURN, network)),
            _for_call(calls.sendto, _if_argument_set(4, network) + _step(_RETURN, _ALLOW)),
            _for_call(
                calls.socket,
                _argument(0)
                + _when(socket.AF_INET, network)
                + _when(socket.AF_INET6, network)
                + _step(_RETURN, _REFUSE | errno.EAFNOSUPPORT),
            ),
            _step(_RETURN, _ALLOW),
        ]
    )


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _argument(index: int, *, high: bool = False) -> bytes:
    """Load one half of an argument; both machines are little-endian."""
    return _step(_LOAD, _ARGUMENTS_AT + 8 * index + 4 * high)


def _when(value: int, verdict: int) -> bytes:
    return _step(_JUMP_EQUAL, value, 0, 1) + _step(_RETURN, verdict)


def _unless(value: int, verdict: int) -> bytes:
    return _step(_JUMP_EQUAL, value, 1, 0) + _step(_RETURN, verdict)


def _for_call(number: int, steps: bytes) -> bytes:
    """`steps`, which must end in a return, for one call; the number is still loaded for the others."""
    return _step(_JUMP_EQUAL, number, 0, len(steps) // 8) + steps


def _if_argument_set(index: int, verdict: int) -> bytes:
    """A verdict when a pointer argument is not null."""
    return _argument(index) + _unless(0, verdict) + _argument(index, high=True) + _unless(0, verdict)
