"""Receives a `multipart/form-data` upload: the video is streamed to disk, and only the options stay in memory."""

import asyncio
import errno
import hashlib
import re
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import InvalidRequestError, StorageFullError, TooLargeError
from service.problems import FieldError
from service.storage.disk import Disk

MAX_OPTIONS_BYTES = 64 * 1024
"""Limit of the JSON part `session`, and of what the multipart framing may add to the file."""
MAX_FRAMING_BYTES = 64 * 1024
"""Limit of the multipart framing of an upload: part headers, preamble and epilogue."""
MAX_BOUNDARY_BYTES = 256
"""Limit of the parser. RFC 2046, section 5.1.1, allows 70."""
_WRITE_BYTES = 1024**2
_ENCODED_NAME = re.compile(r";\s*filename\*=utf-8'[^';]*'([^;\s]+)", re.IGNORECASE)
"""The form of RFC 8187 for names that are not ASCII, which takes precedence (RFC 6266, section 4.3)."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Upload:
    """A received video. `digest` is the SHA-256 of the file and of the options, for Idempotency-Key."""

    filename: str | None
    options_json: bytes
    digest: str


async def receive_upload(
    body: AsyncIterable[bytes], content_type: str, path: Path, disk: Disk, *, max_bytes: int
) -> Upload:
    """Write the part `file` of `body` to the new file `path`.

    Raises InvalidRequestError, TooLargeError beyond `max_bytes`, StorageFullError below the low-water mark of `disk`.
    After any error or cancellation no file is left.
    """
    form = _Form(content_type, max_bytes)
    digest = hashlib.sha256()
    try:
        with await asyncio.to_thread(path.open, "xb") as file:
            async for chunk in body:
                form.parse(chunk)
                if len(form.video) >= _WRITE_BYTES:
                    await asyncio.to_thread(_drain, form.video, file, digest)
                    disk.require_room()
            form.require_complete()
            await asyncio.to_thread(_drain, form.video, file, digest)
    except BaseException as error:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - also when cancelled, so it must not await
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise StorageFullError(
                "There is no space for this video. Delete sessions or free some disk space."
            ) from error
        raise
    digest.update(b"\0" + form.options)
    return Upload(form.filename, bytes(form.options), digest.hexdigest())


def _drain(video: bytearray, file: BinaryIO, digest: "hashlib._Hash") -> None:
    file.write(video)
    file.flush()
    digest.update(video)
    video.clear()


class _Form:
    """Parser of the parts `file` and `session`, in either order. `video` buffers what was not written to disk yet."""

    def __init__(self, content_type: str, max_bytes: int) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise _invalid("file", "the multipart Content-Type has no boundary")
        if len(boundary) > MAX_BOUNDARY_BYTES:
            raise _invalid("file", f"the boundary is longer than {MAX_BOUNDARY_BYTES} bytes")
        self.video = bytearray()
        self.options = bytearray()
        self.filename: str | None = None
        self._max_bytes = max_bytes
        self._video_bytes = 0
        self._part = ""
        self._seen: set[str] = set()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._complete = False
        self._delimiter = b"--" + boundary
        self._preamble: bytearray | None = bytearray()
        """What arrived before the first boundary; None once that was found."""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._part_data,
                "on_end": self._body_ends,
            },
        )

    def parse(self, chunk: bytes) -> None:
        """Parse the next bytes of the body. Raises InvalidRequestError, TooLargeError."""
        if self._preamble is not None:
            chunk = self._after_preamble(chunk)
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise _invalid("file", "the body is not well-formed multipart/form-data") from error

    def _after_preamble(self, chunk: bytes) -> bytes:
        """The body from its first boundary on: RFC 2046, section 5.1.1, says to ignore what precedes it."""
        assert self._preamble is not None
        self._preamble += chunk
        body = b"\r\n" + self._preamble
        found = body.find(b"\r\n" + self._delimiter)
        if found >= 0:
            self._preamble = None
            return body[found + 2 :]
        if len(self._preamble) > MAX_FRAMING_BYTES:
            raise _invalid("file", f"there is no boundary within the first {MAX_FRAMING_BYTES} bytes of the body")
        return b""

    def require_complete(self) -> None:
        """Raise InvalidRequestError unless the body ended with its boundary and had a file."""
        if self._preamble:
            raise _invalid("file", "the body is not well-formed multipart/form-data: it has no boundary")
        if not self._complete:
            raise _invalid("file", "the body ends before its closing boundary")
        if "file" not in self._seen:
            raise _invalid("file", "the part is missing")
        if self._video_bytes == 0:
            raise _invalid("file", "the file is empty")

    def _part_begins(self) -> None:
        self._part = ""

    def _header_ends(self) -> None:
        if bytes(self._header_name).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._header_value))
            self._part = options.get(b"name", b"").decode(errors="replace")
            encoded = _ENCODED_NAME.search(bytes(self._header_value).decode("latin-1"))
            if self._part == "file" and encoded is not None:
                self.filename = _base_name(unquote(encoded[1]))
            elif self._part == "file" and b"filename" in options:
                self.filename = _base_name(options[b"filename"].decode(errors="replace"))
        self._header_name.clear()
        self._header_value.clear()

    def _headers_end(self) -> None:
        if not self._part:
            raise _invalid("file", "a part has no name; send `file` and optionally `session`")
        if self._part not in ("file", "session"):
            raise _invalid(self._part[:100], "unknown part; send `file` and optionally `session`")
        if self._part in self._seen:
            raise _invalid(self._part, "the part is repeated")
        self._seen.add(self._part)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "session":
            self.options += data[start:end]
            if len(self.options) > MAX_OPTIONS_BYTES:
                raise TooLargeError(f"The part `session` is larger than {MAX_OPTIONS_BYTES} bytes.")
            return
        self._video_bytes += end - start
        if self._video_bytes > self._max_bytes:
            raise too_large(self._max_bytes)
        self.video += data[start:end]

    def _body_ends(self) -> None:
        self._complete = True


def too_large(max_bytes: int) -> TooLargeError:
    """The video exceeds the limit of this server."""
    return TooLargeError(f"The video is larger than {max_bytes} bytes. Send a smaller one, or submit its URL.")


def _invalid(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {message}.", errors=[FieldError(field=field, message=message)])


def _base_name(filename: str) -> str | None:
    name = filename.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(character for character in name if character.isprintable())[:255] or None
