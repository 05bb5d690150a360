#!/usr/bin/env bash
# On one thread PyTorch computes float32 convolutions of 1 x 1 over fewer than 16 images without oneDNN, and 3-D ones of
# K x 1 x 1 so that channels last is lost behind them.
#
# The same network takes almost twice the processor time with torch.set_num_threads(1) as with 2 on the same single core,
# and channels last changes nothing. PyTorch chooses by the number of threads: it assumes that its own kernel is faster on
# one. To compute on one core, keep the process to that core, before torch is imported, and set two threads.
# Seen with torch 2.13.0 on x86-64, 2026-11-30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.0
"$folder/venv/bin/python" - <<'PY'
import os

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import time

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

temporal = nn.Conv3d(24, 24, (5, 1, 1), padding=(2, 0, 0), groups=24, bias=False)
blocks = nn.Sequential(
    *(layer for _ in range(3) for layer in (nn.Conv2d(24, 54, 1), nn.ReLU(), nn.Conv2d(54, 24, 1), nn.ReLU()))
)
temporal, blocks = temporal.to(memory_format=torch.channels_last_3d), blocks.to(memory_format=torch.channels_last)
clip = torch.randn(1, 24, 13, 80, 80).contiguous(memory_format=torch.channels_last_3d)


@torch.inference_mode()
def run() -> tuple[bool, torch.Tensor]:
    mixed = temporal(clip)
    frames = mixed.transpose(1, 2).flatten(0, 1)
    return mixed.is_contiguous(memory_format=torch.channels_last_3d), blocks(frames)


found = {}
for threads in (1, 2):
    torch.set_num_threads(threads)
    kept, result = run()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run()
    kernels = {event.key for event in profiled.key_averages()} & {
        "aten::mkldnn_convolution",
        "aten::_slow_conv2d_forward",
        "aten::slow_conv3d_forward",
    }
    began_s = time.process_time()
    for _ in range(5):
        run()
    took_ms = (time.process_time() - began_s) / 5 * 1e3
    print(f"{threads} thread(s): {sorted(kernels)}, channels last kept: {kept}, {took_ms:.0f} ms of one core")
    found[threads] = (kernels, kept, result)
torch.testing.assert_close(found[1][2], found[2][2], atol=1e-4, rtol=1e-4)
assert found[1][:2] == ({"aten::_slow_conv2d_forward", "aten::slow_conv3d_forward"}, False), "the behaviour has changed"
assert found[2][:2] == ({"aten::mkldnn_convolution"}, True), "the behaviour has changed"
PY
echo "as described"
