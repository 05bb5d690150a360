"""The network as it is served: one step of many streams as an OpenVINO graph."""

import sys

# A separate package of OpenVINO reports its use over the network, which operators of cameras do not want. Without the
# package it sends nothing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
