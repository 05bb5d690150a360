"""A decoder's messages about live video, as its parent sees them."""

import json
from dataclasses import dataclass

from service.decoder.protocol import NO_VIDEO, VIDEO_BEGINS, VIDEO_PART, VIDEO_PART_HEADER

VIDEO_KINDS = (VIDEO_BEGINS, VIDEO_PART, NO_VIDEO)


@dataclass(frozen=True)
class VideoBegins:
    """The requested live video begins, or begins again: `head` is the beginning of a fragmented MP4."""

    media_type: str
    width: int
    height: int
    head: bytes


@dataclass(frozen=True)
class VideoFragment:
    """The next fragment. `at_s` is its time in the MP4, `media_s` its media time.

    `is_start`: it begins with a keyframe.
    """

    at_s: float
    media_s: float
    is_start: bool
    data: bytes


@dataclass(frozen=True)
class NoVideo:
    """There will be no live video; `reason` is a sentence for people."""

    reason: str


LiveVideoMessage = VideoBegins | VideoFragment | NoVideo


def video_message(kind: bytes, payload: bytes) -> LiveVideoMessage:
    """The message for one of VIDEO_KINDS."""
    if kind == NO_VIDEO:
        return NoVideo(**json.loads(payload))
    if kind == VIDEO_BEGINS:
        described = json.loads(payload)
        return VideoBegins(**described | {"head": bytes.fromhex(described["head"])})
    at_s, media_s, is_start = VIDEO_PART_HEADER.unpack_from(payload)
    return VideoFragment(at_s, media_s, is_start, payload[VIDEO_PART_HEADER.size :])
