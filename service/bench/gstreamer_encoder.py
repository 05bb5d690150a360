"""Encodes with a codec that only GStreamer has: a program for the system's Python.

`gstreamer_encoder.py WIDTH HEIGHT RATE_HZ FILE ENCODER` reads frames in I420 from standard input and writes a transport
stream. ENCODER is an element with its properties, such as `openh264enc gop-size=20`.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

PIPELINE = (
    "fdsrc fd=0 ! rawvideoparse width={} height={} framerate={}/1 format=i420 ! {} ! h264parse config-interval=-1"
    " ! mpegtsmux ! filesink name=file"
)


def main() -> None:
    width, height, rate_hz, path, encoder = sys.argv[1:]
    Gst.init(None)
    pipeline = Gst.parse_launch(PIPELINE.format(width, height, rate_hz, encoder))
    pipeline.get_by_name("file").set_property("location", path)
    pipeline.set_state(Gst.State.PLAYING)
    ended = pipeline.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if ended.type == Gst.MessageType.ERROR:
        sys.exit(str(ended.parse_error()))


if __name__ == "__main__":
    main()
