"""Why a video cannot be used: one stable code and one sentence for each cause."""

from typing import Literal

NO_ANSWER = "The source did not answer in time. Check that it is running and reachable."
NO_DECODER = "There is no decoder for the codec of this video. Send it as H.264."
STILL_IMAGE = "The source is a still image. Send a video."

VideoErrorCode = Literal[
    "source_unreachable",
    "source_unauthorized",
    "source_timeout",
    "source_unsupported",
    "no_video_stream",
    "decode_failed",
    "limit_exceeded",
    "internal",
]


class VideoError(Exception):
    """A video that cannot be used.

    `code` is the failure code of a session. `detail` says what is wrong and what to do; it never holds the address.
    """

    def __init__(self, code: VideoErrorCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
