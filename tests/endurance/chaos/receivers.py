"""Webhook receivers: steady ones, one that hangs for a while, and one that never answers."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.support.video_server import serve_handler


class Receivers:
    """All behind one address, by path. `/never` never answers."""

    STEADY, SOMETIMES_HANGING, NEVER = "/steady", "/sometimes-hanging", "/never"

    def __init__(self) -> None:
        self.url = ""
        self.ids: dict[str, list[str]] = defaultdict(list)
        """By session: the events that were accepted, also repeatedly, in the order of their arrival."""
        self.longest_silence_s = 0.0
        """Of the steady receiver."""
        self._last_s = time.monotonic()
        self._lock = threading.Lock()
        self._answers = threading.Event()
        self._answers.set()
        self._ended = threading.Event()

    def hang(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()

    def end(self) -> None:
        """Release everything that hangs."""
        self._ended.set()
        self._answers.set()

    def receive(self, path: str, body: bytes) -> bool:
        """Whether the event is accepted."""
        if path == self.NEVER:
            self._ended.wait()
            return False
        if path == self.SOMETIMES_HANGING and not self._answers.is_set():
            # The sender has given up when this returns.
            self._answers.wait()
            return False
        event = json.loads(body)
        with self._lock:
            self.ids[event["session_id"]].append(event["id"])
            if path == self.STEADY:
                now_s = time.monotonic()
                self.longest_silence_s = max(self.longest_silence_s, now_s - self._last_s)
                self._last_s = now_s
        return True


@contextmanager
def receivers() -> Iterator[Receivers]:
    state = Receivers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not state.receive(self.path, body):
                self.close_connection = True
                return
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Keep the output clean."""

    with serve_handler(Handler) as host:
        state.url = f"http://{host}"
        try:
            yield state
        finally:
            state.end()
