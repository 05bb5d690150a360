"""The network in the form that serves: one step of many streams as an OpenVINO graph."""
