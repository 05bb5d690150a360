"""Numbers of the system calls that a decoder uses, by architecture. All other calls are refused."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass

# Name: (number on x86_64, number on aarch64, which lacks some older calls).
_NUMBERS: Mapping[str, tuple[int, int | None]] = {
    # Memory
    "brk": (12, 214),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "mincore": (27, 232),
    "membarrier": (324, 283),
    # Files and pipes; Landlock and the process's limits decide what can be opened
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "pwrite64": (18, 68),
    "lseek": (8, 62),
    "close": (3, 57),
    "open": (2, None),
    "openat": (257, 56),
    "stat": (4, None),
    "lstat": (6, None),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "fadvise64": (221, 223),
    "pipe2": (293, 59),
    "eventfd2": (290, 19),
    # Waiting
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "epoll_create": (213, None),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    # Sockets, all of which the parent makes
    "socket": (41, 198),
    "connect": (42, 203),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "bind": (49, 200),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "recvmmsg": (299, 243),
    "getsockopt": (55, 209),
    "setsockopt": (54, 208),
    "getsockname": (51, 204),
    "getpeername": (52, 205),
    "shutdown": (48, 210),
    # Threads
    "clone": (56, 220),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "gettid": (186, 178),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "exit": (60, 93),
    "exit_group": (231, 94),
    # Signals of the process to itself
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "tgkill": (234, 131),
    # Time
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    # The process and the machine
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getrusage": (98, 165),
    "times": (100, 153),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "arch_prctl": (158, None),
}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_AUDIT = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}

FIRST_RECENT = 435
"""Calls from this number on, starting with `clone3`, are recent on every architecture: libraries expect that a kernel
may lack them and can fall back to older calls.
"""


class ConfinementUnavailableError(Exception):
    """This kernel, or the sandbox around this process, does not let a process confine itself."""


@dataclass(frozen=True)
class SystemCalls:
    """The system calls of one architecture: those that a decoder uses, by name, and constants of the filter."""

    audit_architecture: int
    seccomp: int
    numbers: Mapping[str, int]

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]


def system_calls() -> SystemCalls:
    """The system calls of this machine. Raises ConfinementUnavailableError where they are not known."""
    machine = platform.machine()
    if machine not in _AUDIT:
        raise ConfinementUnavailableError(f"decoders cannot be confined on {machine}")
    column = list(_AUDIT).index(machine)
    numbers = {name: number for name, row in _NUMBERS.items() if (number := row[column]) is not None}
    return SystemCalls(_AUDIT[machine], _SECCOMP[machine], numbers)
