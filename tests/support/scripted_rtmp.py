"""An RTMP server that accepts a viewer and then refuses its requests."""

import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

HANDSHAKE_BYTES = 1536
VERSION = b"\x03"
COMMAND = 0x14


def _text(value: str) -> bytes:
    return len(value).to_bytes(2) + value.encode()


def command(name: str, transaction: int, information: dict[str, str] | float) -> bytes:
    """Encode a command of AMF 0 without a command object, as one chunk of RTMP (at most 128 bytes)."""
    content = b"\x02" + _text(name) + struct.pack(">bd", 0, transaction) + b"\x05"
    if isinstance(information, dict):
        members = b"".join(_text(key) + b"\x02" + _text(value) for key, value in information.items())
        content += b"\x03" + members + b"\x00\x00\x09"
    else:
        content += struct.pack(">bd", 0, information)
    assert len(content) <= 128
    return bytes([3, 0, 0, 0]) + len(content).to_bytes(3) + bytes([COMMAND, 0, 0, 0, 0]) + content


CONNECTED = command("_result", 1, {"level": "status", "code": "NetConnection.Connect.Success"})
STREAM_CREATED = command("_result", 2, 1.0)
NOT_FOUND = command("onStatus", 0, {"level": "error", "code": "NetStream.Play.StreamNotFound"})
NO_APPLICATION = command("_error", 1, {"level": "error", "description": "no application of this name"})


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        hello = self.rfile.read(1 + HANDSHAKE_BYTES)
        self.wfile.write(VERSION + bytes(HANDSHAKE_BYTES) + hello[1:])
        self.rfile.read(HANDSHAKE_BYTES)
        for reply in cast(_Server, self.server).replies:
            self.wfile.write(reply)
        while self.rfile.read(1):
            """Until the viewer leaves."""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, replies: Sequence[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = replies


@contextmanager
def scripted_rtmp(*replies: bytes) -> Iterator[str]:
    """Yields the address of a stream to whose viewers `replies` are sent, whatever they ask for."""
    with _Server(replies) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"rtmp://127.0.0.1:{server.server_address[1]}/live/camera"
        finally:
            server.shutdown()
            thread.join()
