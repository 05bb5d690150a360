"""Notice that a live source stalls: it sends nothing, nothing that can be decoded, or packets that are not visible
here.
"""

import time

from model.video.connection_guard import ConnectionGuard
from model.video.errors import VideoError
from model.video.source import ByteStream

NO_FRAMES = "The source stopped sending frames. Check the camera."
NO_KEYFRAME = (
    "The camera sent no keyframe within {:.0f} s, so its video could not be decoded. Shorten its keyframe interval."
)
UNDECODABLE = "The stream can no longer be decoded, for example because its codec changed. Open it again."


class StreamsChangedError(VideoError):
    """A pushed live source sends bytes, but no more packets of the streams that it had when it was opened."""

    def __init__(self) -> None:
        super().__init__("source_unreachable", UNDECODABLE)


class PacketFlow:
    """When packets and frames of an open source arrived, in seconds on the monotonic clock.

    `arrived_at_s`: when the last packet of the video arrived; `awaited_s`: how long the reader waited for it;
    `decoded_at_s`: when the last frame was decoded.

    Args:
        timeout_s: how long a live source may send no video.
        keyframe_timeout_s: how long it may send packets without one at which a decoder can start.
    """

    def __init__(self, timeout_s: float, keyframe_timeout_s: float) -> None:
        self._timeout_s, self._keyframe_timeout_s = timeout_s, keyframe_timeout_s
        self.note_video()
        self.awaited_s = 0.0
        self.guard: ConnectionGuard | None = None
        """Watches the connection of a live transport stream."""

    def note_video(self) -> None:
        """Start counting the time without video."""
        self.arrived_at_s = self.decoded_at_s = time.monotonic()

    def note_packet(self, now_s: float) -> None:
        """Note a packet of any stream of a live source. Raises VideoError if there was no video for too long."""
        if self.guard is not None:
            self.guard.note_packet(now_s)
        self.check_guard()
        if now_s - max(self.arrived_at_s, self.decoded_at_s) > self._timeout_s:
            raise VideoError("source_timeout", NO_FRAMES)
        if now_s - self.decoded_at_s > self._keyframe_timeout_s:
            raise VideoError("source_timeout", NO_KEYFRAME.format(self._keyframe_timeout_s))

    def note_bytes(self) -> None:
        """Note bytes of a live source. Raises StreamsChangedError if they have yielded no packet for too long."""
        if time.monotonic() - self.arrived_at_s > self._timeout_s:
            raise StreamsChangedError

    def check_guard(self) -> None:
        """Raise VideoError if the guard ended the connection."""
        if self.guard is not None and self.guard.has_ended_it:
            raise VideoError("source_unreachable", UNDECODABLE)


class WatchedBytes:
    """A pushed live stream, which must yield packets."""

    def __init__(self, flow: PacketFlow, source: ByteStream) -> None:
        self._flow, self._source = flow, source

    def read(self, max_bytes: int, /) -> bytes:
        """At least one byte; none at the end of the video. Raises VideoError."""
        data = self._source.read(max_bytes)
        self._flow.note_bytes()
        return data
