#!/usr/bin/env bash
# With one inference thread, OpenVINO pins the thread that infers to a core, and every process chooses the same one.
#
# Several processes on a machine therefore share a single core while the others idle, and a process cannot leave a core
# that something else keeps busy. The pinning lasts as long as each inference, so that tools which show affinities
# between inferences see nothing. The project knows it (openvino#32444). ENABLE_CPU_PINNING=False avoids it.
# Seen with openvino 2026.4.1 on x86-64, Linux, two CPUs, 2026-12-01: two processes that multiply matrices reach 1,067 and
# 1,074 inferences per second, and 1,948 and 1,724 without pinning; one alone reaches 2,166.
set -euo pipefail
[ "$(getconf _NPROCESSORS_ONLN)" -gt 1 ] || { echo "needs two CPUs"; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check openvino==2026.4.1 numpy==2.4.0
cat > "$folder/infer.py" <<'PY'
import sys

sys.modules["openvino_telemetry"] = None  # no usage statistics over the network

import os
import threading

import numpy as np
import openvino as ov
import openvino.opset13 as op

options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
if sys.argv[1] == "unpinned":
    options["ENABLE_CPU_PINNING"] = False
x = op.parameter([1, 512, 512], np.float32)
y = x
for _ in range(8):
    y = op.matmul(y, op.constant(np.eye(512, dtype=np.float32)), False, False)
request = ov.Core().compile_model(ov.Model([op.result(y)], [x]), "CPU", options).create_infer_request()
given, seen, infers = np.ones((1, 512, 512), np.float32), set(), threading.get_native_id()
ended = threading.Event()


def watch() -> None:
    while not ended.is_set():
        seen.add(tuple(sorted(os.sched_getaffinity(infers))))


watcher = threading.Thread(target=watch)
watcher.start()
for _ in range(300):
    request.infer([given])
ended.set()
watcher.join()
print(sorted(seen, key=len)[0])
PY
infer() { "$folder/venv/bin/python" "$folder/infer.py" "$1"; }
infer pinned > "$folder/one" &
infer pinned > "$folder/other"
wait
echo "CPUs that inferring threads may use: $(cat "$folder/one") in one process, $(cat "$folder/other") in another;" \
  "$(infer unpinned) without pinning"
grep -qx '([0-9]*,)' "$folder/one" && cmp "$folder/one" "$folder/other" || { echo "the behaviour has changed"; exit 1; }
! infer unpinned | grep -qx '([0-9]*,)' || { echo "the behaviour has changed"; exit 1; }
echo "as described"
