"""Live streams over HTTP and RTMP, made on the spot: HLS that grows, motion JPEG, and a broadcast."""

import io
import math
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np

from tests.support.commands import require_command
from tests.support.made_videos import numbered_image
from tests.support.running_server import free_port

RATE_HZ = 10
SEGMENT_S = 1.0
BROADCAST = (
    *("ffmpeg", "-loglevel", "error", "-re", "-f", "lavfi", "-i", f"testsrc=size=64x48:rate={RATE_HZ}"),
    *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "5"),
)
ENDLESS = {
    "flv": ("-f", "flv"),
    "ts": ("-f", "mpegts"),
    "mp4": ("-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4"),
    "mkv": ("-live", "1", "-f", "matroska"),
}
WIDTH, HEIGHT = 64, 48


def segment(number: int) -> bytes:
    """A second of MPEG-TS; the timestamps continue from one segment to the next."""
    content = io.BytesIO()
    with av.open(content, "w", format="mpegts", options={"mpegts_copyts": "1"}) as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(RATE_HZ):
            _mux(container, stream, number * RATE_HZ + index)
        container.mux(stream.encode())
    return content.getvalue()


def _mux(container: Any, stream: Any, number: int) -> None:
    frame = av.VideoFrame.from_ndarray(numbered_image(number, WIDTH, HEIGHT), format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, RATE_HZ)
    container.mux(stream.encode(frame))


HEAD = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n"
EVENT_S = 4.0


def playlist(elapsed_s: float, *, ended: bool = False, kind: str = "") -> str:
    """The last five segments that are complete; three are there from the beginning."""
    newest = int(elapsed_s / SEGMENT_S) + 3
    first = 0 if ended or kind else max(0, newest - 5)
    lines = [f"{HEAD}#EXT-X-MEDIA-SEQUENCE:{first}"]
    if kind:
        lines.append(f"#EXT-X-PLAYLIST-TYPE:{kind}")
    for number in range(first, newest):
        lines += [f"#EXTINF:{SEGMENT_S:.1f},", f"{number}.ts"]
    return "\n".join([*lines, "#EXT-X-ENDLIST"] if ended else lines) + "\n"


class _Handler(BaseHTTPRequestHandler):
    began_s = math.inf
    stopped: threading.Event
    cut: set[str]
    broken_off: threading.Event
    visits: list[str]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.visits.append(self.path)
        if (made := self._playlist()) is not None:
            self._send("application/vnd.apple.mpegurl", made.encode())
        elif "seg?n=" in self.path:
            self._send("video/mp2t", segment(int(self.path.rpartition("=")[2])))
        elif self.path == "/live.m3u8":
            self._send("application/vnd.apple.mpegurl", playlist(self._elapsed_s()).encode())
        elif self.path == "/ended.m3u8":
            self._send("application/vnd.apple.mpegurl", playlist(0.0, ended=True).encode())
        elif self.path == "/break-off":
            self.broken_off.set()
            self._send("text/plain", b"")
        elif self.path.startswith("/endless"):
            self._send_endless()
        elif self.path.endswith(".ts"):
            self._send("video/mp2t", segment(int(self.path.rpartition("/")[2].partition(".")[0])))
        else:
            self._send_motion_jpeg()

    def _elapsed_s(self) -> float:
        """Since the first request of a playlist."""
        type(self).began_s = min(self.began_s, time.monotonic())
        return time.monotonic() - self.began_s

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _playlist(self) -> str | None:
        elapsed_s = self._elapsed_s()
        if self.path == "/stale.m3u8":
            return playlist(2.0)
        if self.path == "/event.m3u8":
            ended = elapsed_s > EVENT_S
            return playlist(min(elapsed_s, EVENT_S), ended=ended, kind="EVENT")
        if self.path == "/unnamed.m3u8":
            return playlist(elapsed_s).replace(".ts", "").replace("\n", "\nseg?n=").replace("seg?n=#", "#")
        if self.path == "/master.m3u8":
            rates = enumerate((3_000_000, 1_000_000, 500_000))
            return "#EXTM3U\n" + "".join(f"#EXT-X-STREAM-INF:BANDWIDTH={rate}\nv{n}/live.m3u8\n" for n, rate in rates)
        if self.path.endswith("/live.m3u8") and self.path != "/live.m3u8":
            return playlist(elapsed_s)
        if self.path == "/discontinuity.m3u8":
            once = "".join(f"#EXTINF:{SEGMENT_S:.1f},\n{number}.ts\n" for number in range(3))
            return f"{HEAD}#EXT-X-MEDIA-SEQUENCE:0\n{once}#EXT-X-DISCONTINUITY\n{once}#EXT-X-ENDLIST\n"
        return None

    def _send_endless(self) -> None:
        """A broadcast without a stated length; `/cut-once` breaks off the first connection at `/break-off`."""
        address = urlsplit(self.path)
        suffix, is_chunked = address.path.rpartition(".")[2], "chunked" in address.query
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        is_cut = "cut-once" in address.path and self.path not in self.cut
        self.cut.add(self.path)
        with subprocess.Popen(
            [*BROADCAST, *ENDLESS[suffix], "-flush_packets", "1", "-"], stdout=subprocess.PIPE
        ) as made:
            assert made.stdout is not None
            try:
                while not self.stopped.is_set() and not (is_cut and self.broken_off.is_set()):
                    data = os.read(made.stdout.fileno(), 65536)
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if is_chunked else data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                made.kill()

    def _send_motion_jpeg(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        encoder.time_base = Fraction(1, RATE_HZ)
        image = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), format="rgb24")
        [packet] = encoder.encode(image.reformat(format="yuvj420p"))
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
def http_camera(visits: list[str] | None = None) -> Iterator[str]:
    """Yields its address; the paths of all requests go to `visits`.

    `/endless.FORMAT` (of ENDLESS) states no length; with `?chunked` it comes in chunks. `/endless/cut-once.FORMAT` is
    broken off once, at a request of `/break-off`, without its last chunk. Of playlists, `/stale.m3u8` stands still,
    `/event.m3u8` ends after a while, `/unnamed.m3u8` has segments without an extension, `/master.m3u8` has three
    variants, and the timestamps of `/discontinuity.m3u8` start again in the middle. `/live.m3u8` grows by a segment
    each second, `/ended.m3u8` is whole, anything else is motion JPEG at 10 Hz, which `/once` ends after 8 frames.
    """
    stopped = threading.Event()
    visits = [] if visits is None else visits
    state = {"stopped": stopped, "cut": set(), "visits": visits}
    handler = type("_Started", (_Handler,), state | {"broken_off": threading.Event()})
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
    image = ("-re", "-f", "lavfi", "-i", f"testsrc=size={WIDTH}x{HEIGHT}:rate={RATE_HZ}")
    video = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "5", "-f", "flv")
    with subprocess.Popen(
        [require_command("ffmpeg"), "-loglevel", "quiet", *image, *video, "-listen", "1", url]
    ) as server:
        while not _listens(port):
            time.sleep(0.01)
        yield url
        server.kill()


def _listens(port: int) -> bool:
    """As the kernel says: a connection to find out would be its one client."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(int(line.split()[1].partition(":")[2], 16) == port and line.split()[3] == "0A" for line in lines)
