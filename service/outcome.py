"""How a session ends, in words."""

from dataclasses import dataclass
from typing import Literal

from model.container import VideoError
from service.decoder_process import DecoderDied
from service.schemas import FailureCode
from service.sources import SourceForbidden

SourceFailure = VideoError | SourceForbidden | DecoderDied

DECODER_DIED = "The decoder ended several times at the same place. The video may be damaged there; send it re-encoded."
INTERNAL = "The server failed in an unexpected way; its log says more. Try again, and report it if it happens again."
UPLOAD_GONE = "The uploaded video is not there any more. Submit it again."
STREAM_ENDED = "The source ended its stream. Check that the camera is up."


@dataclass(frozen=True)
class Outcome:
    """How a session ended."""

    state: Literal["completed", "stopped", "failed"]
    code: FailureCode | None = None
    detail: str | None = None
    warnings: tuple[str, ...] = ()


INTERNAL_FAILURE = Outcome("failed", "internal", INTERNAL)


def failed(error: SourceFailure) -> Outcome:
    """The end of a session whose source is given up."""
    if isinstance(error, DecoderDied):
        return Outcome("failed", "decode_failed", DECODER_DIED)
    return Outcome("failed", error.code, error.detail)
