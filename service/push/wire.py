"""What a server and a worker say to each other about a pushed stream.

The server sends its hello, one line of JSON; the worker answers with one byte; then come frames, each `length: uint32,
bytes`, little-endian. A frame of length 0 is the end of the video; without it, the stream broke off.
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
    """Where a worker takes pushed streams, and the key that it wants to hear: it is as secret as the store."""

    host: str
    port: int
    key: str = field(repr=False)


@dataclass(frozen=True)
class Hello:
    """Whose stream follows."""

    session_id: str
    key: str = field(repr=False)

    def to_line(self) -> bytes:
        return json.dumps([self.session_id, self.key]).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Hello":
        """Raises ValueError for anything else."""
        match json.loads(line):
            case [str(session_id), str(key)]:
                return cls(session_id, key)
        raise ValueError("not a hello")
