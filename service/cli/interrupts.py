"""Ctrl-C while a command is starting."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_by_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process immediately, without a traceback.

    Python raises KeyboardInterrupt at any point. Inside an import that prints a traceback, and inside a
    callback of the import system the exception is lost and the process continues.
    """
    before = signal.getsignal(signal.SIGINT)
    # A process that was started in the background ignores Ctrl-C, and continues to do so.
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
