"""Describes the measured machine."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """The machine and the versions that the figures belong to."""

    cpu: str
    cores: int
    load_1min: float
    """Other load at the start, in cores. Figures from a busy machine are not comparable."""
    openvino: str
    python: str


def machine() -> Machine:
    """Describe this machine."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        load_1min=round(os.getloadavg()[0], 2),
        openvino=version("openvino"),
        python=platform.python_version(),
    )


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
