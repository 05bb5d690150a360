"""Find the connection that FFmpeg opened for a source, which FFmpeg does not expose."""

import os
import socket
import stat
from pathlib import Path

_OPEN_FILES = Path("/proc/self/fd")
_INTERNET = (socket.AF_INET, socket.AF_INET6)


def open_sockets() -> frozenset[int]:
    """Return the open sockets of this process, by number; none if the system does not list them."""
    if not _OPEN_FILES.exists():
        return frozenset()
    return frozenset(number for path in list(_OPEN_FILES.iterdir()) if _is_socket(number := int(path.name)))


def new_connection(opened_before: frozenset[int]) -> socket.socket | None:
    """Return a duplicate of the TCP connection that was opened since then; None if there is not exactly one."""
    found = [socket.socket(fileno=os.dup(number)) for number in open_sockets() - opened_before]
    connections = [sock for sock in found if sock.family in _INTERNET and sock.type == socket.SOCK_STREAM]
    connection = connections[0] if len(connections) == 1 else None
    for sock in found:
        if sock is not connection:
            sock.close()
    return connection


def _is_socket(number: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        # Already closed, like the descriptor of the listed folder.
        return False
