"""The parent's view of a clip on its way from a decoder."""

import json
from dataclasses import dataclass

from service.decoder.protocol import CLIP_BEGINS, CLIP_DATA, CLIP_ENDED, CLIP_NUMBER

CLIP_KINDS = (CLIP_BEGINS, CLIP_DATA, CLIP_ENDED)


@dataclass(frozen=True)
class ClipPart:
    """Bytes of a clip that was ordered. A part without bytes begins the clip: `from_s` is the media time of its first
    frame.
    """

    number: int
    data: bytes = b""
    from_s: float | None = None


@dataclass(frozen=True)
class ClipEnded:
    """A clip has ended: it was sent up to `to_s`, or there is no clip because of `problem`, a sentence for people."""

    number: int
    to_s: float
    problem: str | None


def clip_message(kind: bytes, payload: bytes) -> ClipPart | ClipEnded:
    """The message of one of `CLIP_KINDS`."""
    if kind == CLIP_BEGINS:
        return ClipPart(**json.loads(payload))
    if kind == CLIP_ENDED:
        return ClipEnded(**json.loads(payload))
    (number,) = CLIP_NUMBER.unpack_from(payload)
    return ClipPart(number, payload[CLIP_NUMBER.size :])
