"""How a session ends, and the sentences that say why."""

from dataclasses import dataclass
from typing import Literal

from model.video.errors import VideoError
from service.decoder.messages import DecoderDiedError
from service.schemas import FailureCode
from service.sources.sources import SourceForbiddenError

SourceFailure = VideoError | SourceForbiddenError | DecoderDiedError

DECODER_DIED = (
    "The decoder crashed repeatedly at the same position. The video may be damaged there; re-encode it and submit it"
    " again."
)
INTERNAL = "An unexpected error occurred in the server. Try again; if it persists, report it with the server's log."
UPLOAD_GONE = (
    "The server cannot find the uploaded video. If its servers and workers do not share a folder, the operator has to"
    " set CAKE_BLOB_URL to a bucket that all of them reach."
)
KILLS_WORKERS = (
    "The analysis crashed the server's worker process {} times in a row at the same position. Re-encode the video and"
    " submit it again, and report this with the server's log."
)
STREAM_ENDED = "The source ended its stream. Check that the camera is on."


@dataclass(frozen=True)
class Outcome:
    """How a session ended."""

    state: Literal["completed", "stopped", "failed"]
    code: FailureCode | None = None
    detail: str | None = None
    warnings: tuple[str, ...] = ()


INTERNAL_FAILURE = Outcome("failed", "internal", INTERNAL)
UPLOAD_NOT_FOUND = Outcome("failed", "internal", UPLOAD_GONE)


def failed(error: SourceFailure) -> Outcome:
    """The outcome of a session that gives up on its source."""
    if isinstance(error, DecoderDiedError):
        return Outcome("failed", "decode_failed", DECODER_DIED)
    return Outcome("failed", error.code, error.detail)
