"""What a process that sends one notification receives, and what it answers.

The parent writes one line of JSON, a `NotifyRequest`, and the bytes of the attachment. The child answers with one line
of JSON, a `NotifyAnswer`.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Self

MAX_BYTES, MAX_CPU_S = 1024**3, 20


@dataclass(frozen=True)
class Notice:
    """What people read. `is_urgent` and `is_failure` choose colours and icons, where a service has them."""

    title: str
    body: str
    is_urgent: bool = False
    is_failure: bool = False


@dataclass(frozen=True)
class NotifyRequest:
    """A notification to send, or without a `notice` an address to check.

    Args:
        url: address of the service, with its secrets.
        attachment: name and media type of the file that follows this line, of `attachment_bytes`.
        authorities: a PEM file of all certificate authorities to trust.
        parent_pid: set by the parent's side.
        channel_fd: set by the parent's side; the child asks for its connections there.
    """

    url: str = field(repr=False)
    notice: Notice | None
    attachment: tuple[str, str] | None = None
    attachment_bytes: int = 0
    authorities: str = ""
    parent_pid: int = 0
    channel_fd: int | None = None

    def to_json(self) -> str:
        """The line that the parent writes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """The request in the parent's line."""
        fields = json.loads(line)
        notice = fields.pop("notice")
        return cls(notice=None if notice is None else Notice(**notice), **fields)


@dataclass(frozen=True)
class NotifyAnswer:
    """The outcome. `failure` contains no text of the library or the service, so it never reveals a part of the address.

    `is_valid`: the library can use the address.
    """

    is_valid: bool
    failure: str | None = None
    traceback: str | None = None

    def to_json(self) -> str:
        """The line that the child writes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """The answer in the child's line."""
        return cls(**json.loads(line))
