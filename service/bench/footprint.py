"""Measures processor time and memory of a process and all its descendants, with psutil."""

import asyncio
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Footprint:
    """Processor time and memory of a process and its descendants, at one moment."""

    cpu_s: float
    """Processor time of running descendants, and of those that ended and were reaped."""
    memory_mb: float
    """Proportional set size in 10^6 bytes: shared memory counts once."""


@dataclass(frozen=True)
class Usage:
    """Processor time and memory of a process and its descendants, over a period."""

    core_share: float
    """Processor time divided by elapsed time: 1 is one core."""
    memory_mb: float
    """Memory at the end, in 10^6 bytes."""


async def measure_usage(root_pid: int, window_s: float) -> Usage:
    """Measure the process and its descendants for `window_s`."""
    before, began_s = await asyncio.to_thread(footprint, root_pid), time.monotonic()
    await asyncio.sleep(window_s)
    after, took_s = await asyncio.to_thread(footprint, root_pid), time.monotonic() - began_s
    return Usage(round((after.cpu_s - before.cpu_s) / took_s, 3), round(after.memory_mb, 1))


def footprint(root_pid: int) -> Footprint:
    """The sum over the process `root_pid` and its descendants; processes that end during the call are not included."""
    root = psutil.Process(root_pid)
    cpu_s, memory_bytes = 0.0, 0
    for process in (root, *root.children(recursive=True)):
        try:
            times, memory = process.cpu_times(), process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        cpu_s += times.user + times.system + times.children_user + times.children_system
        memory_bytes += memory.pss
    return Footprint(cpu_s, memory_bytes / 1e6)
