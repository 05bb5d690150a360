#!/usr/bin/env bash
# Two threads of PyTorch on two cores that other programs use take several times the processor time of the same work on
# idle cores, because a thread that waits for the other at the end of each operation keeps its core busy.
#
# The wheel's OpenMP library lets waiting threads spin for a while as long as there are at least as many cores as threads,
# whether or not these cores are free. While the thread that is waited for has no core, the other one uses up its share of
# time by spinning, in every operation. With OMP_WAIT_POLICY=passive in the environment before torch is imported, waiting
# threads sleep, and the work takes about as long as on idle cores.
# Seen with torch 2.13.0 (CPU) on x86-64, Linux 6.1, 2026-12-01: 0.48 s of processor time on almost idle cores, 2.9 s (in
# another run 10.6 s) beside four busy processes, and 0.33 s beside them with passive waiting.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.0
cat >"$folder/work.py" <<'PY'
"""Prints the processor time of many short operations on two threads."""

import time

import torch
from torch import nn

torch.set_num_threads(2)
layers = nn.Sequential(*(nn.Conv2d(48, 48, 3, padding=1) for _ in range(30)))
image = torch.randn(1, 48, 40, 40)
with torch.inference_mode():
    layers(image)
    began_s = time.process_time()
    for _ in range(20):
        layers(image)
print(time.process_time() - began_s)
PY
"$folder/venv/bin/python" - "$folder/work.py" <<'PY'
import os
import subprocess
import sys

cores = sorted(os.sched_getaffinity(0))[:2]
assert len(cores) == 2, "needs two cores"
os.sched_setaffinity(0, cores)
plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
BUSY = "while True: pass"


def work_s(**environ: str) -> float:
    command = [sys.executable, sys.argv[1]]
    runs = [subprocess.run(command, env={**plain, **environ}, stdout=subprocess.PIPE, check=True) for _ in range(3)]
    return sorted(float(run.stdout) for run in runs)[1]


idle_s = work_s()
others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(4)]
try:
    busy_s, passive_s = work_s(), work_s(OMP_WAIT_POLICY="passive")
finally:
    for other in others:
        other.kill()
        other.wait()
print(f"processor time: idle cores {idle_s:.2f} s, busy cores {busy_s:.2f} s, with passive waiting {passive_s:.2f} s")
assert busy_s > 2 * passive_s, "the behaviour has changed"
PY
echo "as described"
