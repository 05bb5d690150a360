"""Reads the body of a request as it arrives: decompressed, bounded in size, and with a minimum rate."""

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass

from starlette.requests import Request

from service.errors import InvalidRequestError, RequestTimeoutError, TooLargeError, UnsupportedMediaTypeError

BODY_TIMEOUT_S = 60.0
"""A client that sends nothing for this long is disconnected: it holds a connection and disk space."""
MIN_BYTES_PER_S = 1024
_PIECE_BYTES = 64 * 1024
_GZIP_WINDOW_BITS = 31


@dataclass
class RateFloor:
    """Whether a client sends at least MIN_BYTES_PER_S, averaged over each BODY_TIMEOUT_S spent waiting for it.

    Time in which the server processes what has arrived does not count.
    """

    waited_s: float = 0.0
    arrived_bytes: int = 0

    def is_met(self, chunk_bytes: int, waited_s: float) -> bool:
        """Take another chunk of the body, for which the server waited `waited_s`."""
        self.waited_s += waited_s
        self.arrived_bytes += chunk_bytes
        if self.waited_s < BODY_TIMEOUT_S:
            return True
        is_met = self.arrived_bytes >= MIN_BYTES_PER_S * self.waited_s
        self.waited_s, self.arrived_bytes = 0.0, 0
        return is_met


async def body_of(request: Request, *, max_bytes: int, setting: str | None = None) -> AsyncIterator[bytes]:
    """Yield the chunks of the body; a body with `Content-Encoding: gzip` is decompressed.

    `setting` is what an operator raises to allow more. Raises TooLargeError beyond `max_bytes`, on the wire or
    decompressed, RequestTimeoutError, UnsupportedMediaTypeError, InvalidRequestError for damaged gzip data, and
    ClientDisconnect.
    """
    gunzip = _decoder(request.headers.get("content-encoding", ""))
    wire_bytes, decoded_bytes = 0, 0
    async for chunk in _arriving(request.stream()):
        wire_bytes += len(chunk)
        for piece in [chunk] if gunzip is None else gunzip.pieces(chunk):
            decoded_bytes += len(piece)
            if max(wire_bytes, decoded_bytes) > max_bytes:
                ask = "" if setting is None else f", or ask the operator to raise {setting}"
                raise TooLargeError(f"The request body is larger than {max_bytes} bytes. Send a smaller one{ask}.")
            yield piece
    if gunzip is not None:
        gunzip.require_complete()


async def _arriving(chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """Raises RequestTimeoutError when the client sends nothing, or too slowly."""
    rate = RateFloor()
    while True:
        waits_since_s = time.monotonic()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RequestTimeoutError(f"No data arrived for {BODY_TIMEOUT_S:.0f} s. Send the request again.") from None
        if not rate.is_met(len(chunk), time.monotonic() - waits_since_s):
            raise RequestTimeoutError(
                f"The body arrived at less than {MIN_BYTES_PER_S} bytes per second. Send the request again, faster."
            )
        yield chunk


class _Gunzip:
    """Decompresses a stream in bounded pieces."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_WINDOW_BITS)

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._inflate.eof:
                # Several members may follow each other (RFC 1952, section 2.2), as pigz and `cat` write them.
                self._inflate = zlib.decompressobj(_GZIP_WINDOW_BITS)
            try:
                piece = self._inflate.decompress(chunk, _PIECE_BYTES)
            except zlib.error as error:
                raise InvalidRequestError("`Content-Encoding` is gzip, but the body is not valid gzip data.") from error
            chunk = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if piece:
                yield piece

    def require_complete(self) -> None:
        if not self._inflate.eof:
            raise InvalidRequestError("The gzip data of the body is truncated. Send the request again.")


def _decoder(content_encoding: str) -> _Gunzip | None:
    """Raises UnsupportedMediaTypeError."""
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return None
    if coding in ("gzip", "x-gzip"):
        return _Gunzip()
    raise UnsupportedMediaTypeError(f"Content-Encoding {coding[:50]!r} is not supported. Use gzip, or no encoding.")
