"""Parses the header Range: the part of a file that a client requests (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

from service.errors import RangeNotSatisfiableError

_RANGE = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True)
class ByteRange:
    """Bytes from `first` to before `end`."""

    first: int
    end: int

    def content_range(self, size_bytes: int) -> str:
        """The value of the header `Content-Range`, given the size of the whole file."""
        return f"bytes {self.first}-{self.end - 1}/{size_bytes}"


def requested_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """The part that the header `Range` names.

    None means the whole file: without the header, for another unit, and for several parts, which a server need
    not support.

    Raises RangeNotSatisfiableError: The range is empty, lies outside the file, or is malformed.
    """
    unit, _, parts = (header or "").partition("=")
    if unit.strip().lower() != "bytes" or "," in parts:
        return None
    found = _RANGE.fullmatch(parts.strip())
    if found is None or found[0] == "-":
        raise RangeNotSatisfiableError(
            "The header Range must look like `bytes=0-1023`, `bytes=1024-` or `bytes=-1024`.", size_bytes=size_bytes
        )
    if found[1]:
        first = int(found[1])
        end = min(size_bytes, int(found[2]) + 1 if found[2] else size_bytes)
    else:
        first, end = max(0, size_bytes - int(found[2])), size_bytes
    if first >= end:
        detail = f"The header Range names no bytes of the file, which has {size_bytes} bytes."
        raise RangeNotSatisfiableError(detail, size_bytes=size_bytes)
    return ByteRange(first, end)
