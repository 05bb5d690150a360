"""A small HTTP server for the tests: serves a folder.

It asks for a password under /secret/, stalls under /stall/, and cuts the first answer in half under /cut-once/.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

AUTHORIZATION = "Basic dXNlcjpwYXNz"  # user:pass


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, released: threading.Event, cut: threading.Event, directory: str) -> None:
        self._released = released
        self._cut = cut
        self._half = False
        super().__init__(*arguments, directory=directory)

    def do_GET(self) -> None:
        if self.path.startswith("/secret/"):
            if self.headers.get("Authorization") != AUTHORIZATION:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="videos"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.path = self.path.removeprefix("/secret")
        if self.path.startswith("/stall/"):
            self._released.wait()
            return
        if self.path.startswith("/cut-once/"):
            self.path = self.path.removeprefix("/cut-once")
            self._half = not self._cut.is_set()
            self._cut.set()
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output clean."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if self._half:
            content = source.read()
            outputfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        try:
            super().copyfile(source, outputfile)
        except (BrokenPipeError, ConnectionResetError):
            # The client had enough.
            self.close_connection = True


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve `folder` on a free port of the loopback; gives `127.0.0.1:PORT`."""
    released = threading.Event()
    handler = partial(_Handler, released=released, cut=threading.Event(), directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()
