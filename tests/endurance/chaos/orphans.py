"""Processes whose parent has died become children of this one, so that none is overlooked."""

import ctypes

import psutil

PR_SET_CHILD_SUBREAPER = 36
GONE_WITHIN_S = 30.0


def adopt_orphans() -> None:
    """Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def left_processes() -> list[str]:
    """The command lines of descendants that do not end unasked; they are killed. All others are reaped."""
    _, left = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=GONE_WITHIN_S)
    found = []
    for process in left:
        found.append(" ".join(process.cmdline())[:120])
        process.kill()
    psutil.wait_procs(left)
    return found
