"""The network in the form that serves: one step of many streams as an OpenVINO graph."""

import sys

# OpenVINO reports its use over the network, by a separate package. Operators of cameras do not want that; without the
# package it sends nothing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
