"""How a child process confines itself before it opens what callers name. The restrictions last until the process
ends.
"""

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from service.confinement.files import restrict_files
from service.confinement.syscall_filter import ask_parent_for_connections, refuse_network

MAX_OPEN_FILES = 96
_PR_SET_PDEATHSIG = 1
_PACKAGES = Path(__file__).parents[2]
# Libraries that are loaded late, for example for host names and certificates, and the files that the resolver reads.
_SYSTEM_FILES = (
    *(
        "/usr",
        "/lib",
        "/lib64",
        "/etc/ld.so.cache",
        "/dev/null",
        "/dev/urandom",
        "/proc/self",
        "/sys/devices/system/cpu",
    ),
    *(
        "/etc/hosts",
        "/etc/resolv.conf",
        "/run/systemd/resolve",
        "/etc/nsswitch.conf",
        "/etc/host.conf",
        "/etc/gai.conf",
    ),
    *("/etc/ssl", "/etc/pki", "/etc/localtime"),
)


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit(1)


def limit_resources(*, max_bytes: int, max_cpu_s: int) -> None:
    """Bound memory (address space), processor time and open files; no file may be written and no core dumped."""
    for limit, value in (
        (resource.RLIMIT_AS, max_bytes),
        (resource.RLIMIT_CPU, max_cpu_s),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def restrict_reading(also: Iterable[Path]) -> bool:
    """Make only Python, the system's libraries and `also` readable. Returns False where the kernel has no Landlock."""
    python = (sys.prefix, sys.base_prefix, *(path for path in sys.path if path.endswith("-packages")))
    return restrict_files([*map(Path, (*python, *_SYSTEM_FILES)), _PACKAGES / "model", _PACKAGES / "service", *also])


def restrict_network(channel_fd: int | None) -> None:
    """Allow only connections that the parent makes through `channel_fd`; without it, none.

    Raises ConfinementUnavailableError.
    """
    if channel_fd is None:
        refuse_network()
    else:
        ask_parent_for_connections(socket.socket(fileno=channel_fd))
