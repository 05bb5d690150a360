#!/usr/bin/env bash
# OpenVINO's ReLU, Maximum and Clamp turn NaN into a number on the CPU, where NumPy and PyTorch keep it.
#
# A network with NaN weights therefore gives finite scores: any check of its outputs for "not finite" is blind to damage
# that lies before the last such layer. Check the weights when they are loaded instead. Sigmoid and Add keep NaN.
# Seen with openvino 2026.4.1 on x86-64 in float32, 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check openvino==2026.4.1 numpy==2.4.0
"$folder/venv/bin/python" - <<'PY'
import sys

sys.modules["openvino_telemetry"] = None  # no usage statistics over the network

import numpy as np
import openvino as ov
import openvino.opset13 as op

x = op.parameter([3], np.float32)
zero = op.constant(np.float32(0))
layers = {
    "relu": op.relu(x),
    "maximum": op.maximum(x, zero),
    "clamp": op.clamp(x, 0.0, 6.0),
    "sigmoid": op.sigmoid(x),
    "add": op.add(x, zero),
}
model = ov.Model(list(layers.values()), [x])
compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
given = np.array([np.nan, -1.0, 2.0], np.float32)
results = compiled(given)
found = {name: results[index] for index, name in enumerate(layers)}
for name, values in found.items():
    print(f"{name}({given.tolist()}) = {values.tolist()}")
print(f"numpy.maximum(…, 0) = {np.maximum(given, 0).tolist()}")
hidden = {name for name, values in found.items() if np.isfinite(values[0])}
assert hidden == {"relu", "maximum", "clamp"}, f"the behaviour has changed: {hidden}"
assert np.isnan(np.maximum(given, 0)[0])
PY
echo "as described"
