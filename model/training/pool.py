"""Runs a function on many items in separate processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def results_of(function: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[Result]:
    """The results, in any order. Function, items and results must be picklable.

    With one process, this one is used: another would have to import PyTorch first, which takes seconds.
    """
    if min(processes, len(items)) <= 1:
        yield from map(function, items)
        return
    with multiprocessing.get_context("spawn").Pool(min(processes, len(items))) as pool:
        yield from pool.imap_unordered(function, items)
