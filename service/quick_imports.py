"""Importing large libraries in two thirds of the time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without garbage collection, since imports create no garbage; later collections skip what they created."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
