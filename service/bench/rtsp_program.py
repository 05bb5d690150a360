"""GStreamer's RTSP server, as a program for the system's Python: `rtsp_program.py FOLDER`.

Serves each H.264 transport stream in the folder in real time, to each client from the beginning, under its name without
`.ts`. Prints its port, which is on the loopback interface.
"""

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = '( filesrc location="{}" ! tsdemux ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )'


def main() -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    for path in Path(sys.argv[1]).glob("*.ts"):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(PIPELINE.format(path))
        server.get_mount_points().add_factory(f"/{path.stem}", factory)
    server.attach(None)
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
