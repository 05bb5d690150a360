"""The protocol between a server and a worker for live video and scores.

The server sends a `service.push.protocol.Hello`; the worker answers with one byte, and then sends messages, each of
them `kind: 1 byte, length: uint32, payload`, little-endian. TEXT and VIDEO are messages for the viewer as they are;
ALIVE comes at least every ALIVE_EVERY_S.
"""

import struct

HEADER = struct.Struct("<cI")
TEXT, VIDEO, ALIVE = b"t", b"v", b"a"
ALIVE_EVERY_S = 5.0
MAX_MESSAGE_BYTES = 16 * 1024**2


def message(kind: bytes, payload: bytes = b"") -> bytes:
    """What the worker sends."""
    return HEADER.pack(kind, len(payload)) + payload
