"""The decoder's side: a seccomp filter that allows the system calls of decoding and no others.

Every call that makes an internet socket or names a destination waits for the parent's answer (seccomp_unotify(2),
Linux 5.14). A decoder cannot start processes or programs, only threads; cannot signal other processes; and cannot enter
namespaces. The filter cannot be removed and needs no privileges.
"""

import ctypes
import errno
import os
import socket
import struct

from service.confinement.system_calls import FIRST_RECENT, ConfinementUnavailableError, SystemCalls, system_calls

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_NEW_LISTENER = 1, 8
_ASK_PARENT, _ALLOW, _REFUSE = 0x7FC0_0000, 0x7FFF_0000, 0x0005_0000
# Classic BPF: load a 32-bit word of `struct seccomp_data`, mask it, jump when equal, jump when not less, return.
_LOAD, _AND, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_BIT = 0x4000_0000

# clone(2): CLONE_VM, CLONE_SIGHAND and CLONE_THREAD make a thread; the others would make namespaces.
_THREAD_FLAGS, _NAMESPACE_FLAGS = 0x0001_0900, 0x7E02_0000
# What a call may do, by the value of one of its arguments: names of threads and of memory; duplicates and flags of
# files, but not a receiver of their signals; whether a file is a terminal, and modes of sockets.
_ALLOWED_ARGUMENTS = {
    "prctl": (0, (15, 16, 0x5356_4D41)),
    "fcntl": (1, (0, 1, 2, 3, 4, 1030)),
    "ioctl": (1, (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)),
    # Its own limits, which it may only lower.
    "prlimit64": (0, (0,)),
}


def refuse_network() -> None:
    """From now on this process has no network at all. Raises ConfinementUnavailableError."""
    _install(_program(system_calls(), _REFUSE | errno.EACCES), 0)


def ask_parent_for_connections(channel: socket.socket) -> None:
    """From now on the parent makes this process's connections; it gets the filter's listener through `channel`.

    Raises ConfinementUnavailableError.
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
        raise ConfinementUnavailableError(f"no_new_privs: {os.strerror(ctypes.get_errno())}")
    listener: int = libc.syscall(system_calls().seccomp, _SECCOMP_SET_MODE_FILTER, flags, header)
    if listener < 0:
        raise ConfinementUnavailableError(f"seccomp: {os.strerror(ctypes.get_errno())}")
    return listener


def _program(calls: SystemCalls, network: int, channel_fd: int = -1) -> bytes:
    """The filter. `network`: the verdict for calls that contact other hosts; `channel_fd` may send freely."""
    refuse = _REFUSE | errno.EPERM
    conditional = {
        "connect": _step(_RETURN, network),
        "sendmmsg": _step(_RETURN, network),
        "sendmsg": _argument(0) + _when(channel_fd & 0xFFFF_FFFF, _ALLOW) + _step(_RETURN, network),
        "sendto": _if_argument_set(4, network) + _step(_RETURN, _ALLOW),
        "socket": _argument(0)
        + _when(socket.AF_INET, network)
        + _when(socket.AF_INET6, network)
        + _step(_RETURN, _REFUSE | errno.EAFNOSUPPORT),
        "clone": _argument(0)
        + _step(_AND, _THREAD_FLAGS | _NAMESPACE_FLAGS)
        + _when(_THREAD_FLAGS, _ALLOW)
        + _step(_RETURN, refuse),
        "tgkill": _argument(0) + _when(os.getpid(), _ALLOW) + _step(_RETURN, refuse),
    }
    for name, (index, allowed) in _ALLOWED_ARGUMENTS.items():
        conditional[name] = (
            _argument(index) + b"".join(_when(value, _ALLOW) for value in allowed) + _step(_RETURN, refuse)
        )
    return b"".join(
        [
            _step(_LOAD, _ARCHITECTURE_AT),
            _unless(calls.audit_architecture, refuse),
            _step(_LOAD, _NUMBER_AT),
            _step(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1) + _step(_RETURN, refuse),
            *(_when(number, _ALLOW) for name, number in calls.numbers.items() if name not in conditional),
            *(_for_call(calls[name], steps) for name, steps in conditional.items()),
            # Libraries that get this error fall back to older calls.
            _step(_JUMP_GREATER_EQUAL, FIRST_RECENT, 0, 1) + _step(_RETURN, _REFUSE | errno.ENOSYS),
            _step(_RETURN, refuse),
        ]
    )


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _argument(index: int, *, high: bool = False) -> bytes:
    """Load one half of an argument; both architectures are little-endian."""
    return _step(_LOAD, _ARGUMENTS_AT + 8 * index + 4 * high)


def _when(value: int, verdict: int) -> bytes:
    return _step(_JUMP_EQUAL, value, 0, 1) + _step(_RETURN, verdict)


def _unless(value: int, verdict: int) -> bytes:
    return _step(_JUMP_EQUAL, value, 1, 0) + _step(_RETURN, verdict)


def _for_call(number: int, steps: bytes) -> bytes:
    """Apply `steps`, which must end in a return, to one call; for the others, the call's number stays loaded."""
    return _step(_JUMP_EQUAL, number, 0, len(steps) // 8) + steps


def _if_argument_set(index: int, verdict: int) -> bytes:
    """A verdict for calls whose pointer argument is not null."""
    return _argument(index) + _unless(0, verdict) + _argument(index, high=True) + _unless(0, verdict)
