"""Landlock: from now on, a process may read only the named files and folders, and write none (Linux 5.13)."""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_QUERY, _PATH_BENEATH, _PR_SET_NO_NEW_PRIVS = 1, 1, 38
_EXECUTE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 2, 1 << 3
# All rights of version 1 of the interface; those that are not granted are denied.
_ALL_RIGHTS = (1 << 13) - 1


def restrict_files(readable: Iterable[Path]) -> bool:
    """Restrict this process permanently; False where the kernel cannot. Paths that do not exist are skipped."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_CREATE_RULESET, None, 0, _VERSION_QUERY) < 1:
        return False
    rules = struct.pack("Q", _ALL_RIGHTS)
    ruleset: int = libc.syscall(_CREATE_RULESET, rules, len(rules), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            if path.exists():
                _allow_reading(libc, ruleset, path)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: Path) -> None:
    rights = _READ_FILE | _EXECUTE | (_READ_FOLDER if path.is_dir() else 0)
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, opened), 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    finally:
        os.close(opened)
