"""The protocol between a process that cuts a clip or a still out of a stored video and its parent.

The parent writes one line of JSON, a `CutRequest`. The child replies with messages like those of a decoder: for a clip
CUT_BEGINS, then its bytes as CUT_DATA; for a still only CUT_DATA. The last message is ENDED or ERROR.
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal, Self

from model.video.media_time import TimeZero

CUT_BEGINS, CUT_DATA = b"B", b"V"


@dataclass(frozen=True)
class CutRequest:
    """What to cut out of a file.

    Args:
        path: the file.
        kind: an MP4 of the frames from `from_s` to `to_s`, or a JPEG of the frame at `from_s`.
        from_s: media time, in seconds.
        to_s: media time, in seconds.
        stream: number of the video stream, from 0; the best one if None.
        time_zero: what media time 0 of the file refers to.
        max_side: longest side of a still, in pixels.
        max_bytes: address space that the process may use before it is killed.
        max_cpu_s: processor time that it may use before it is killed.
        parent_pid: set by the parent's side.
    """

    path: str
    kind: Literal["clip", "still"]
    from_s: float
    to_s: float
    stream: int | None
    time_zero: TimeZero
    max_side: int = 1280
    max_bytes: int = 2 * 1024**3
    max_cpu_s: int = 60
    parent_pid: int = 0

    def to_json(self) -> str:
        """The line that the parent writes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The request in the parent's line."""
        return cls(**json.loads(line))
