#!/usr/bin/env bash
# GStreamer's rtph264pay with config-interval=-1 sends SPS and PPS before each slice of a keyframe, not once for each keyframe.
#
# The property promises parameters with every IDR frame. A keyframe that the encoder cut into four slices (as encoders for low
# latency and hardware encoders do) carries them four times, between its slices. By H.264 (7.4.1.2.3), parameters after a
# slice begin the next frame, so a reader that goes by it sees four frames, of which each lacks three quarters. The RTP
# timestamp is the same for all of them and the marker bit is set on the last packet only: go by these. With
# config-interval=1 (seconds) the parameters come once.
# Seen with GStreamer 1.22.0 of Debian 12, 2026-11-30.
#
# Exit status 0: as described; 1: the behaviour changed; 2: this machine lacks GStreamer with x264enc, or its Python bindings
# (Debian: python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly).
set -euo pipefail
/usr/bin/python3 -I - <<'PY'
import sys

try:
    import gi

    gi.require_version("Gst", "1.0")
    from gi.repository import Gst
except (ImportError, ValueError):
    sys.exit(2)
Gst.init(None)
if not all(Gst.ElementFactory.find(name) for name in ("x264enc", "h264parse", "rtph264pay")):
    sys.exit(2)
PARAMETERS, SLICE_OF_KEYFRAME, FRAGMENT = (7, 8), 5, 28


def keyframes(slices: int, config_interval: int) -> list[str]:
    """The units of the second and the third keyframe, by RTP timestamp: P for SPS and PPS, s for a slice."""
    pipeline = Gst.parse_launch(
        "videotestsrc num-buffers=3 ! video/x-raw,format=I420,width=128,height=128,framerate=10/1 ! "
        f"x264enc tune=zerolatency key-int-max=1 sliced-threads=false threads=1 option-string=slices={slices} ! h264parse ! "
        f"rtph264pay config-interval={config_interval} aggregate-mode=none ! appsink name=sink sync=false"
    )
    sink = pipeline.get_by_name("sink")
    pipeline.set_state(Gst.State.PLAYING)
    units: dict[bytes, list[int]] = {}
    while (sample := sink.emit("try-pull-sample", 10 * Gst.SECOND)) is not None:
        buffer = sample.get_buffer()
        packet = buffer.extract_dup(0, buffer.get_size())
        kind = packet[12] & 31
        if kind == FRAGMENT:
            is_first = bool(packet[13] & 0x80)
            kind = packet[13] & 31 if is_first else 0
        if kind:
            units.setdefault(packet[4:8], []).append(kind)
    pipeline.set_state(Gst.State.NULL)
    shown = []
    for kinds in list(units.values())[1:]:
        # The encoder's own parameters come first.
        own = kinds[:3] == [9, *PARAMETERS]
        letters = {PARAMETERS[0]: "P", SLICE_OF_KEYFRAME: "s"}
        shown.append("".join(letters.get(kind, "") for kind in kinds[3 if own else 0 :]))
    return shown


expected = {(1, -1): "Ps", (4, -1): "PsPsPsPs", (1, 1): "s", (4, 1): "ssss"}
print(Gst.version_string())
found = {}
for slices, config_interval in expected:
    (units,) = set(keyframes(slices, config_interval))
    found[slices, config_interval] = units
    print(f"{slices} slices, config-interval={config_interval}: {units}")
if found != expected:
    sys.exit("the behaviour has changed")
print("as described")
PY
