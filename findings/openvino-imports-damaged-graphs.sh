#!/usr/bin/env bash
# OpenVINO imports an exported graph with a flipped bit without an error, and the graph then computes something else.
#
# A damaged file in a cache of such graphs would therefore change results silently. Keep a digest of every exported graph
# and compare it before import.
# Seen with openvino 2026.4.1 on x86-64, 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check openvino==2026.4.1 numpy==2.4.0
"$folder/venv/bin/python" - <<'PY'
import sys

sys.modules["openvino_telemetry"] = None  # no usage statistics over the network

import io

import numpy as np
import openvino as ov
import openvino.opset13 as op

weights = np.full((64, 64), 0.7, np.float32)
x = op.parameter([1, 64], np.float32)
core = ov.Core()
compiled = core.compile_model(ov.Model([op.matmul(x, op.constant(weights), False, False)], [x]), "CPU")
exported = bytearray(compiled.export_model().getvalue())
at = exported.find(weights.tobytes()[:64])
assert at >= 0, "the weights are not in the exported graph as they are"
exported[at + 3] ^= 1  # the highest byte of the first weight
damaged = core.import_model(io.BytesIO(bytes(exported)), "CPU")
given = np.ones((1, 64), np.float32)
sound, changed = compiled(given)[0][0, 0], damaged(given)[0][0, 0]
print(f"exported graph: {sound}, after one flipped bit: {changed}")
assert sound != changed, "the behaviour has changed"
PY
echo "as described"
