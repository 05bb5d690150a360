import os
import subprocess
import sys
from pathlib import Path

from model.cpus import _cpus_of_quota


def test_a_process_confined_to_one_processor_counts_one() -> None:
    one = min(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(one), sys.executable, "-c", "from model.cpus import allowed_cpus as f; print(f())"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "1"


def test_a_quota_of_processor_time_counts_as_that_many_processors(tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text("150000 100000\n")
    assert _cpus_of_quota(file) == 2
    file.write_text("max 100000\n")
    assert _cpus_of_quota(file) > 1000
    assert _cpus_of_quota(tmp_path / "none") > 1000
