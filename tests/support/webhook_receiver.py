"""A webhook receiver that records deliveries and responds as a test says."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.video_server import serve_handler


@dataclass
class Receiver:
    """The received deliveries; responds with `statuses` in turn, then with 204."""

    statuses: list[int] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    messages: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def receive(self, headers: dict[str, str], body: bytes) -> int:
        """Note a message, and return the status to answer: the next of `statuses`, else 204."""
        with self.lock:
            self.messages.append((headers, body))
            status = self.statuses.pop(0) if self.statuses else 204
            if status < 300:
                self.taken.append(json.loads(body))
            return status

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.taken]

    def has_ended(self) -> bool:
        return any(event.get("state") == "completed" for event in self.taken)


@contextmanager
def receiving(statuses: Sequence[int] = ()) -> Iterator[tuple[str, Receiver]]:
    """The address of a receiver that answers with these statuses, then with 204."""
    receiver = Receiver(list(statuses))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.receive({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

    with serve_handler(Handler) as host:
        yield f"http://{host}/hook", receiver
