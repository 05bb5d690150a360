"""What the numbers were measured on."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int
    threads: int
    """Threads that the measured computation used."""
    load_1min: float
    """Other work at the start, in cores: figures from a machine that was not idle are not worth quoting."""
    torch: str
    python: str


def machine() -> Machine:
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        threads=torch.get_num_threads(),
        load_1min=round(os.getloadavg()[0], 2),
        torch=torch.__version__,
        python=platform.python_version(),
    )


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
