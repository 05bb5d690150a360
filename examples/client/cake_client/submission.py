"""The bodies of submissions: options as JSON, and an uploaded file as a stream of multipart/form-data."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

CHUNK_BYTES = 256 * 1024
OnProgress = Callable[[int, int], None]
"""Called with the number of bytes sent and the size of the file."""


@dataclass(frozen=True)
class SessionOptions:
    """Options of a session. Fields that are None take the server's default; `more` is sent as it is."""

    model: str | None = None
    labels: Sequence[str] | None = None
    """Report only these actions."""
    pace: str | None = None
    """`fast`: as fast as capacity allows; `realtime`: at the video's own speed."""
    name: str | None = None
    metadata: Mapping[str, str] | None = None
    """Included in every event."""
    webhook_url: str | None = None
    webhook_secret: str | None = None
    """`whsec_` and 24 to 64 bytes in base64; the server generates one otherwise."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Options that this version of the client does not know."""

    def to_json(self) -> dict[str, Any]:
        """The options of a submission, as `POST /v1/sessions` takes them."""
        webhook = {"url": self.webhook_url, "secret": self.webhook_secret} if self.webhook_url else None
        given = {
            "model": self.model,
            "labels": None if self.labels is None else list(self.labels),
            "pace": self.pace,
            "name": self.name,
            "metadata": None if self.metadata is None else dict(self.metadata),
            "webhook": webhook and _without_none(webhook),
        }
        return _without_none(given) | dict(self.more)


@dataclass(frozen=True)
class SourceOptions:
    """Options of a video. Fields that are None take the server's default; `more` is sent as it is."""

    stream: int | None = None
    """Number of the video stream, from 0."""
    transport: str | None = None
    """`tcp` or `udp`, of an `rtsp` URL."""
    max_down_s: float | None = None
    """The session fails if a live source is unavailable for longer."""
    live: bool | None = None
    """Whether an `http` or `https` URL is live."""
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields of its `source`."""
        given = {
            "stream": self.stream,
            "transport": self.transport,
            "max_down_s": self.max_down_s,
            "live": self.live,
        }
        return _without_none(given) | dict(self.more)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


class Upload:
    """A file and the options of its session as multipart/form-data, read from disk while it is sent.

    Each iteration opens the file again. Raises OSError when the file cannot be read.
    """

    def __init__(
        self, file: str | PathLike[str], options: Mapping[str, Any], on_progress: OnProgress | None = None
    ) -> None:
        self._path = Path(file)
        self._size_bytes = self._path.stat().st_size
        self._on_progress = on_progress
        boundary = secrets.token_hex(16)
        # The options come first, so that the server can reject them before the video arrives.
        self._before = (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="session"\r\nContent-Type: application/json\r\n\r\n'
            f"{json.dumps(dict(options))}\r\n--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{_quoted(self._path.name)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode(errors="replace")
        self._after = f"\r\n--{boundary}--\r\n".encode()
        length = len(self._before) + self._size_bytes + len(self._after)
        self.headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}

    def __iter__(self) -> Iterator[bytes]:
        yield self._before
        with self._path.open("rb") as file:
            sent_bytes = 0
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
                sent_bytes = self._note_sent(sent_bytes, chunk)
        yield self._after

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._before
        file = await asyncio.to_thread(self._path.open, "rb")
        try:
            sent_bytes = 0
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk
                sent_bytes = self._note_sent(sent_bytes, chunk)
        finally:
            file.close()
        yield self._after

    def _note_sent(self, sent_bytes: int, chunk: bytes) -> int:
        sent_bytes += len(chunk)
        if self._on_progress is not None:
            self._on_progress(sent_bytes, self._size_bytes)
        return sent_bytes


def _quoted(name: str) -> str:
    """A file name inside the quotes of a header, escaped as in browsers."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
