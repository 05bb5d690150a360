"""What a process and all its descendants take of the machine, read from /proc."""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Footprint:
    cpu_s: float
    """Processor time of those that live, and of those that ended and were reaped."""
    memory_mb: float
    """Proportional set size in 10^6 bytes: memory that processes share counts once."""


@dataclass(frozen=True)
class Usage:
    core_share: float
    """Processor time over time: 1 is one whole core."""
    memory_mb: float
    """At the end."""


async def measure_usage(root_pid: int, window_s: float) -> Usage:
    """Of the process and its descendants, during the next `window_s`."""
    before, began_s = await asyncio.to_thread(footprint, root_pid), time.monotonic()
    await asyncio.sleep(window_s)
    after, took_s = await asyncio.to_thread(footprint, root_pid), time.monotonic() - began_s
    return Usage(round((after.cpu_s - before.cpu_s) / took_s, 3), round(after.memory_mb, 1))


def footprint(root_pid: int) -> Footprint:
    """Of the process `root_pid` and its descendants; what ends meanwhile does not count."""
    cpu_s, memory_bytes = 0.0, 0
    for pid in _tree(root_pid):
        try:
            # After the name, which may hold anything: utime, stime, cutime and cstime are fields 14 to 17 of 52.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        cpu_s += sum(map(int, fields[11:15])) / _TICKS_PER_S
        memory_bytes += next((int(row.split()[1]) * 1024 for row in rollup.splitlines() if row.startswith("Pss:")), 0)
    return Footprint(cpu_s, memory_bytes / 1e6)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = children.read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in pids:
            yield from _tree(int(child))
