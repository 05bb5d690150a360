"""An RTSP server that gives the same reply to every request of a method: for cameras that refuse or redirect."""

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    "a=control:track\r\n"
)
DESCRIBED = "200 OK\r\nContent-Type: application/sdp\r\nContent-Base: {base}/\r\nContent-Length: " + f"{len(SDP)}"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, replies: Mapping[str, str]) -> None:
        super().__init__((host, 0), _Handler)
        self.replies, self.requests = replies, list[str]()


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast(_Server, self.server)
        while request := self.rfile.readline().decode():
            method, url, _ = request.split()
            server.requests.append(method)
            sequence = ""
            while (line := self.rfile.readline().decode().strip()) != "":
                if line.lower().startswith("cseq:"):
                    sequence = line
            reply = server.replies.get(method, "200 OK").format(base=url)
            body = SDP if "application/sdp" in reply else ""
            status, _, headers = reply.partition("\r\n")
            lines = [f"RTSP/1.0 {status}", sequence, *([headers] if headers else [])]
            self.wfile.write("\r\n".join([*lines, "", body]).encode())


@contextmanager
def scripted_rtsp(replies: Mapping[str, str], host: str = "127.0.0.1") -> Iterator[tuple[str, list[str]]]:
    """`replies` maps a method to a status line and headers; other methods get `200 OK`.

    Yields `HOST:PORT` and the methods of the requests so far.
    """
    with _Server(host, replies) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"{host}:{server.server_address[1]}", server.requests
        finally:
            server.shutdown()
            thread.join()
