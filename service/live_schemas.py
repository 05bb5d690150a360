"""What a viewer receives over the WebSocket of a live session, besides the video itself."""

from typing import Annotated, Literal

from pydantic import Field

from service.schemas import Schema


class VideoBegan(Schema):
    """A video begins. The binary messages that follow, one after the other, are a fragmented MP4."""

    type: Literal["video.began"] = Field(default="video.began", description="A video begins, or begins anew.")
    media_type: str = Field(
        description="Type of the MP4, as browsers want it.", examples=['video/mp4; codecs="avc1.4d401f"']
    )
    width: int = Field(description="Width of its frames in pixels.")
    height: int = Field(description="Height of its frames in pixels.")


class VideoClock(Schema):
    """Which media time the video shows from a time in the MP4 on, until the next message of this type."""

    type: Literal["video.clock"] = Field(default="video.clock", description="The media time of what follows.")
    at_s: float = Field(description="Time in the MP4, in seconds.")
    media_s: float = Field(description="Media time at that time, as in events and scores, in seconds.")


class VideoUnavailable(Schema):
    """There will be no video until the next `video.began`. Snapshots show the source."""

    type: Literal["video.unavailable"] = Field(default="video.unavailable", description="There is no video.")
    reason: str = Field(description="Why, as a sentence for users.")


class RegionScores(Schema):
    """Scores of one region."""

    region: str | None = Field(description="Name of the region; null without regions.")
    scores: list[list[float]] = Field(description="For each frame one score in [0, 1] per label, as `GET …/scores`.")


class LiveScores(Schema):
    """Scores of the frames that were analysed last."""

    type: Literal["scores"] = Field(default="scores", description="Scores of the newest frames.")
    after_s: float | None = Field(
        description="Media time of the analysed frame before these. If it is not that of the last scores received, some"
        " were missed; `GET …/scores` has them."
    )
    pts_s: list[float] = Field(description="Media time of each frame, in seconds.")
    regions: list[RegionScores] = Field(description="One entry for each region of the session, or one in all.")


LiveMessage = Annotated[
    VideoBegan | VideoClock | VideoUnavailable | LiveScores, Field(discriminator="type", description="A text message.")
]
