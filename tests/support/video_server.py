"""Small HTTP servers for the tests: one serves a folder, one gives the same response to all requests.

The folder's server asks for a password under /secret/, stalls under /stall/, and cuts the first answer in half under
/cut-once/.
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
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
    with _running(server):
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            released.set()


class _Answer(BaseHTTPRequestHandler):
    def __init__(self, *arguments: object, visits: list[str], answer: bytes, location: str | None) -> None:
        self._visits, self._answer, self._location = visits, answer, location
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._visits.append(self.path)
        self.send_response(200 if self._location is None else 302)
        if self._location is not None:
            self.send_header("Location", self._location)
        self.send_header("Content-Length", str(len(self._answer)))
        self.end_headers()
        self.wfile.write(self._answer)

    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def serve_answer(
    host: str, answer: bytes = b"", *, location: str | None = None, certificate: Path | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server with the same response to all requests, over TLS if it has a certificate; gives its URL and the
    requested paths.
    """
    visits: list[str] = []
    server = ThreadingHTTPServer((host, 0), partial(_Answer, visits=visits, answer=answer, location=location))
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        # A client that does not trust the certificate hangs up.
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        scheme = "https"
    with _running(server):
        yield f"{scheme}://{host}:{server.server_address[1]}", visits


@contextmanager
def serve_handler(handler: type[BaseHTTPRequestHandler], port: int = 0) -> Iterator[str]:
    """A test's own server on a loopback port, by default a free one; gives `127.0.0.1:PORT`."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    with _running(server):
        yield f"127.0.0.1:{server.server_address[1]}"


@contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
