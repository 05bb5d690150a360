#!/usr/bin/env bash
# A process that encodes AV1 with libsvtav1 as root has the highest real-time priority from then on.
#
# When the encoder opens, SVT-AV1 gives the calling thread the policy SCHED_FIFO with priority 99, and closing it does not
# take that back. Threads and child processes that the thread starts later inherit it: on a machine with few processors they
# starve everything else, and `nice` does not help. PyAV's wheels contain this encoder. Encode AV1 in a process of its own,
# or restore `os.sched_getscheduler(0)` and its parameters afterwards. Without the right to do it (as an ordinary user, or in a
# container without CAP_SYS_NICE) the encoder only prints a warning.
# Seen with PyAV 18.1.0 (SVT-AV1 4.1.0) on Linux, 2026-11-30.
#
# Exit status 0: as described; 1: the behaviour changed; 2: this user may not use real-time priorities.
set -euo pipefail
chrt --fifo 1 true 2>/dev/null || { echo "Run it as root, with the right to use real-time priorities." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.0
cd "$folder"
SVT_LOG=1 "$folder/venv/bin/python" - <<'PY'
import os
import subprocess
import sys

import av
import numpy as np

NAMES = {os.SCHED_OTHER: "SCHED_OTHER", os.SCHED_FIFO: "SCHED_FIFO"}
ASK = "import os; print(os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)"


def scheduling() -> tuple[str, int]:
    return NAMES[os.sched_getscheduler(0)], os.sched_getparam(0).sched_priority


def encode(codec: str) -> None:
    with av.open(f"{codec}.mkv", "w") as container:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((96, 128, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())


seen = {"before": scheduling()}
for codec in ("libx264", "libx265", "libvpx-vp9", "libsvtav1"):
    encode(codec)
    seen[f"after {codec}"] = scheduling()
policy, priority = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout.split()
seen["a child after that"] = NAMES[int(policy)], int(priority)
for when, (name, number) in seen.items():
    print(f"{when}: {name}, priority {number}")
real_time = {when for when, (name, number) in seen.items() if (name, number) == ("SCHED_FIFO", 99)}
if real_time != {"after libsvtav1", "a child after that"}:
    sys.exit("the behaviour has changed")
print("as described")
PY
