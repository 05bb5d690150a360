"""The processors that this process may use, and how many threads torch uses on them."""

import math
import os
from pathlib import Path

_CPU_QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")
_UNLIMITED = 1 << 30


def allowed_cpus() -> int:
    """The number of processors that this process may use, at least 1.

    There are fewer than the machine has under `taskset`, and in a container with a set of processors or with a quota of
    processor time, which counts as the corresponding number of processors, rounded up.
    """
    return max(1, min(len(os.sched_getaffinity(0)), _cpus_of_quota(_CPU_QUOTA_FILE)))


def _cpus_of_quota(file: Path) -> int:
    """The number of processors that the quota of a control group (cgroup v2) allows; `_UNLIMITED` without a quota."""
    try:
        quota, period = file.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such control group, or the quota is "max"
        return _UNLIMITED


def use_one_thread() -> None:
    """Run torch on one thread.

    Several threads wait for each other in busy loops, which is slower than one thread when the machine has other work.
    """
    import torch  # imported here so that commands that only count processors start fast

    torch.set_num_threads(1)
