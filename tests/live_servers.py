"""Live streams over HTTP and RTMP, made on the spot: HLS that grows, motion JPEG, and a broadcast."""

import io
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
from made_videos import numbered_picture
from running_server import free_port

RATE_HZ = 10
SEGMENT_S = 1.0
WIDTH, HEIGHT = 64, 48


def segment(number: int) -> bytes:
    """A second of MPEG-TS; the timestamps go on from one segment to the next."""
    content = io.BytesIO()
    with av.open(content, "w", format="mpegts", options={"mpegts_copyts": "1"}) as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(RATE_HZ):
            _mux(container, stream, number * RATE_HZ + index)
        container.mux(stream.encode())
    return content.getvalue()


def _mux(container: Any, stream: Any, number: int) -> None:
    frame = av.VideoFrame.from_ndarray(numbered_picture(number, WIDTH, HEIGHT), format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, RATE_HZ)
    container.mux(stream.encode(frame))


def playlist(elapsed_s: float, *, ended: bool = False) -> str:
    """The last five segments that are complete; three are there from the beginning."""
    newest = int(elapsed_s / SEGMENT_S) + 3
    first = 0 if ended else max(0, newest - 5)
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for number in range(first, newest):
        lines += [f"#EXTINF:{SEGMENT_S:.1f},", f"{number}.ts"]
    return "\n".join([*lines, "#EXT-X-ENDLIST"] if ended else lines) + "\n"


class _Handler(BaseHTTPRequestHandler):
    began_s = 0.0
    stopped: threading.Event

    def do_GET(self) -> None:
        if self.path == "/live.m3u8":
            self._send("application/vnd.apple.mpegurl", playlist(time.monotonic() - self.began_s).encode())
        elif self.path == "/ended.m3u8":
            self._send("application/vnd.apple.mpegurl", playlist(0.0, ended=True).encode())
        elif self.path.endswith(".ts"):
            self._send("video/mp2t", segment(int(self.path.strip("/").partition(".")[0])))
        else:
            self._send_motion_jpeg()

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_motion_jpeg(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        encoder.time_base = Fraction(1, RATE_HZ)
        picture = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), format="rgb24")
        [packet] = encoder.encode(picture.reformat(format="yuvj420p"))
        jpeg = bytes(packet)
        try:
            sent = 0
            while not self.stopped.wait(1 / RATE_HZ) and not (self.path == "/once" and sent == 8):
                sent += 1
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            # The client had enough.
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def http_camera() -> Iterator[str]:
    """Gives its address.

    `/live.m3u8` grows by a segment each second, `/ended.m3u8` is whole, anything else is motion JPEG at 10 Hz, which
    `/once` ends after 8 pictures.
    """
    stopped = threading.Event()
    handler = type("_Started", (_Handler,), {"began_s": time.monotonic(), "stopped": stopped})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def broadcast() -> Iterator[str]:
    """The address of an RTMP server, FFmpeg's, that plays to one client and ends with it."""
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/live/camera"
    picture = ("-re", "-f", "lavfi", "-i", f"testsrc=size={WIDTH}x{HEIGHT}:rate={RATE_HZ}")
    video = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "5", "-f", "flv")
    with subprocess.Popen(["ffmpeg", "-loglevel", "quiet", *picture, *video, "-listen", "1", url]) as server:
        while not _listens(port):
            time.sleep(0.01)
        yield url
        server.kill()


def _listens(port: int) -> bool:
    """Told by the kernel: a connection to find out would be its one client."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(int(line.split()[1].partition(":")[2], 16) == port and line.split()[3] == "0A" for line in lines)
