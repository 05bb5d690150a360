"""The protocol between a server and a worker for a pushed stream.

The server sends a `Hello`, one line of JSON; the worker replies with one byte; then the server sends chunks, each
`length: uint32, bytes`, little-endian. A chunk of length 0 is the end of the video; without it, the stream was
interrupted.
"""

import json
import struct
from dataclasses import dataclass, field

HEADER = struct.Struct("<I")
END = HEADER.pack(0)
MAX_HELLO_BYTES = 512
ACCEPTED, NOT_WAITING = b"y", b"n"


@dataclass(frozen=True)
class PushAddress:
    """Where a worker accepts pushed streams, and the key that it requires, which is as secret as the store."""

    host: str
    port: int
    key: str = field(repr=False)


@dataclass(frozen=True)
class Hello:
    """The session whose stream follows, and the worker's key."""

    session_id: str
    key: str = field(repr=False)

    def to_line(self) -> bytes:
        """The first line of a forwarded connection."""
        return json.dumps([self.session_id, self.key]).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Hello":
        """Parse a line of `to_line`. Raises ValueError for anything else."""
        match json.loads(line):
            case [str(session_id), str(key)]:
                return cls(session_id, key)
        raise ValueError("not a hello")
