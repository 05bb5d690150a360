"""Runs GStreamer's RTSP server for a measurement, if it is installed."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.bench.server import ServerFailedError

PROGRAM = Path(__file__).with_name("rtsp_program.py")
# GStreamer's bindings belong to the system's Python.
SYSTEM_PYTHON = "/usr/bin/python3"
MISSING = (
    "The part `cameras` needs GStreamer's RTSP server for the system's Python. On Debian and Ubuntu, install"
    " python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good and gstreamer1.0-plugins-bad."
)


@contextmanager
def rtsp_server(folder: Path) -> Iterator[str]:
    """Serve the transport streams in a folder, and yield the address that precedes their names, without a trailing
    slash.

    Raises ServerFailedError if GStreamer is not installed.
    """
    command = [SYSTEM_PYTHON, "-I", str(PROGRAM), str(folder)]
    try:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except FileNotFoundError:
        raise ServerFailedError(MISSING) from None
    with server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            if not port:
                raise ServerFailedError(MISSING)
            yield f"rtsp://127.0.0.1:{port}"
        finally:
            server.kill()
