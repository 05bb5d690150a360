"""A real RTSP server in a child process, that a test may stop, restart, silence and disturb."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tests.support.commands import SYSTEM_PYTHON, require_gstreamer

PROGRAM = Path(__file__).with_name("rtsp_program.py")


class RtspServer:
    """GStreamer's, see `rtsp_program.py`; it keeps its port from one start to the next."""

    def __init__(self, certificate: Path | None = None) -> None:
        self._certificate = certificate
        self._port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def port(self) -> int:
        return self._port

    def url(self, path: str, *, user: str = "user:pass") -> str:
        scheme = "rtsp" if self._certificate is None else "rtsps"
        return f"{scheme}://{user}@127.0.0.1:{self._port}/{path}"

    def start(self, codec: Literal["h264", "jpeg"] = "h264") -> None:
        """Returns when it listens."""
        require_gstreamer()
        command = [SYSTEM_PYTHON, "-I", str(PROGRAM), str(self._port), codec]
        if self._certificate is not None:
            command.append(str(self._certificate))
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def stop(self) -> None:
        """Immediately, as in a power failure."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def silence(self) -> None:
        """Keep all connections and send nothing."""
        self._signal(signal.SIGSTOP)

    def change_size(self) -> None:
        """Continue with wider images: 96 pixels instead of 64."""
        self._signal(signal.SIGUSR1)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def rtsp_server(certificate: Path | None = None) -> Iterator[RtspServer]:
    """Over TLS with a certificate, a PEM file that holds its key too."""
    server = RtspServer(certificate)
    server.start()
    try:
        yield server
    finally:
        server.stop()
