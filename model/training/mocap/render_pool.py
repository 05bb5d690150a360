"""Renders videos in several processes, which end when the parent process ends."""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

_PR_SET_PDEATHSIG = 1


class Named(Protocol):
    """A video to render."""

    @property
    def name(self) -> str:
        """Name of the video's file, without suffix."""


S = TypeVar("S", bound=Named)


class RenderError(RuntimeError):
    """A video could not be written; the message names it, the cause says why."""


def write_in_processes(
    write: Callable[[S], None], specs: Sequence[S], workers: int, on_left: Callable[[int], None]
) -> None:
    """`write` each of `specs`, which are not empty, in up to `workers` processes. `on_left` is called with the number
    of remaining ones.

    Raises RenderError when one cannot be written, or a process dies.
    """
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(
        min(workers, len(specs)), mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        futures = {executor.submit(write, spec): spec for spec in specs}
        for done, future in enumerate(as_completed(futures), 1):
            _check(future.exception(), futures[future])
            on_left(len(specs) - done)
    except BaseException:
        # Also when interrupted, since the executor would wait for running work.
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _check(failure: BaseException | None, spec: Named) -> None:
    if isinstance(failure, BrokenProcessPool):
        raise RenderError(f"a process died while it wrote {spec.name} or one next to it") from failure
    if failure is not None:
        raise RenderError(f"{spec.name} could not be written: {failure}") from failure


def _start_worker() -> None:
    """The parent handles Ctrl-C, and a worker ends with its parent; pybullet's C code prints a lot."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.close(silence)
