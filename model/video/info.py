"""What the stream of a video states about itself."""

from dataclasses import dataclass

from model.video.packet_sizes import Decoding


@dataclass(frozen=True)
class VideoInfo:
    """What a stream states about itself.

    Width and height are in pixels, as displayed: at a square pixel aspect, after mirroring left to right if `mirrored`
    and a clockwise rotation by `rotation_deg`. A `live` source cannot be paused or rewound: a camera or a broadcast.
    `capture_offset_s` is how long after its capture, by the camera's own clock, a frame arrives. `decoding`, if not
    everything must be decoded, says what is currently decoded.
    """

    codec: str
    width: int
    height: int
    rate_hz: float | None
    duration_s: float | None
    rotation_deg: int
    live: bool = False
    mirrored: bool = False
    capture_offset_s: float | None = None
    decoding: Decoding | None = None
