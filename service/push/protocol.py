"""The protocol between a server and a worker for a pushed stream.

The server sends a `Hello`, one line of JSON; the worker replies with one byte; then the server sends chunks, each
`length: uint32, bytes`, little-endian. A chunk of length 0 is the end of the video; without it, the stream was
interrupted. A `Hello` for live video or scores is answered as `service.live.protocol` describes, one for the clip of a
missed action with one more line, the JSON text of why there will be no clip, or null.
"""

import json
import struct
from dataclasses import dataclass, field
from typing import Literal

HEADER = struct.Struct("<I")
END = HEADER.pack(0)
MAX_HELLO_BYTES = 512
ACCEPTED, NOT_WAITING, TOO_MANY = b"y", b"n", b"m"


@dataclass(frozen=True)
class PushAddress:
    """Where a worker accepts pushed streams, and the key that it requires, which must be as secret as the store."""

    host: str
    port: int
    key: str = field(repr=False)


@dataclass(frozen=True)
class Hello:
    """The session of the connection, the worker's key, and what the server wants to send or receive."""

    session_id: str
    key: str = field(repr=False)
    purpose: Literal["push", "video", "scores", "missed"] = "push"
    missed_id: str = ""
    """The missed action whose clip is requested."""

    def to_line(self) -> bytes:
        """The first line of a forwarded connection."""
        # Workers of earlier versions do not know purposes.
        purpose = [] if self.purpose == "push" else [self.purpose]
        missed = [self.missed_id] if self.purpose == "missed" else []
        return json.dumps([self.session_id, self.key, *purpose, *missed]).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Hello":
        """Parse a line written by `to_line`. Raises ValueError for anything else."""
        match json.loads(line):
            case [str(session_id), str(key)]:
                return cls(session_id, key)
            case [str(session_id), str(key), "video" | "scores" as purpose]:
                return cls(session_id, key, purpose)
            case [str(session_id), str(key), "missed", str(missed_id)]:
                return cls(session_id, key, "missed", missed_id)
        raise ValueError("not a hello")
