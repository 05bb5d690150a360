"""The network in the form that serves: one step of many streams as an OpenVINO graph."""

import sys

# OpenVINO tells its maker over the network that it is used, by a package of its own. Nobody who watches cameras wants
# that: without the package it keeps to itself.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
