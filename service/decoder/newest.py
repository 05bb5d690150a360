"""What the parent gets of a live source next: the newest frame, after those before it that showed nothing new."""

import math
import time

from model.video.frame import Frame
from model.video.live_timing import LiveTiming
from model.video.media_time import slot
from model.video.quiet_gate import Images
from service.decoder import protocol as messages
from service.decoder.protocol import Input, Output

# After this time without change, frames are held and sent together, unless someone is watching, because each message
# costs the parent more than the steps of its detector.
STILL_AFTER_S = 2.0
# The first and the last frame of a message are at least this far apart.
HOLD_S = 0.45
# While frames are held, the decoder still wakes up this often, because motion must not wait for the message.
WAKE_EVERY_S = 0.3
# Longer than frames are ever held: if there are more, the parent is too slow.
LONGEST_HOLD_S = 1.0


class NewestFrame:
    """The newest frame that the parent does not have yet, and the held frames before it."""

    def __init__(self, input_: Input, output: Output, timing: LiveTiming) -> None:
        self._input = input_
        self._output = output
        self._timing = timing
        self._waiting: tuple[bytes, Images] | None = None
        self._sent: Images = ()
        self._held: list[tuple[float, bytes]] = []
        self._still_since_s = math.inf
        self.is_still = False
        """Whether frames are held, because nothing has moved for a while."""

    def put(self, frame: Frame, timestamp_s: float | None, decode_s: float) -> None:
        """Take a frame, with the timestamp that its source states; it replaces the one that waits, if there is one."""
        arrived_unix_s = time.time() - (time.monotonic() - self._timing.due_s)
        stated_s = math.nan if timestamp_s is None else timestamp_s
        header = messages.FRAME_HEADER.pack(
            frame.pts_s, arrived_unix_s, stated_s, decode_s, self._timing.is_new_timeline
        )
        self.is_still = self._waiting is None and self._may_hold(frame)
        if self.is_still:
            self._held.append((frame.pts_s, header))
            return
        if self._waiting is not None:
            self._timing.dropped["newer_frame"] += 1
        self._waiting = header, frame.images

    def send_if_requested(self) -> bool:
        """Send what waits if the parent has requested a frame. Returns whether nothing waits for such a request."""
        if self._waiting is None and not self._held:
            return False
        self._input.read()
        if self._waiting is None and self._held[-1][0] - self._held[0][0] < HOLD_S:
            return True
        if not self._input.frame_requested:
            return False
        self._send()
        return True

    def next_s(self, newest_s: float, sample_hz: float) -> float:
        """Return the media time of the slot for whose frame the decoder wakes up next, after a frame at `newest_s`."""
        newest = slot(newest_s, sample_hz)
        return (newest + (max(1, math.floor(WAKE_EVERY_S * sample_hz)) if self.is_still else 1)) / sample_hz

    def _may_hold(self, frame: Frame) -> bool:
        """Return whether a frame can be sent later; the longest held one gives way to it if there are too many."""
        if frame.images is not self._sent or self._timing.is_new_timeline:
            self._still_since_s = math.inf
            return False
        self._still_since_s = min(self._still_since_s, frame.pts_s)
        if frame.pts_s - self._still_since_s < STILL_AFTER_S or self._input.is_watched or self._input.wants_video:
            return False
        if self._held and frame.pts_s - self._held[0][0] > LONGEST_HOLD_S:
            self._held.pop(0)
            self._timing.dropped["newer_frame"] += 1
        return True

    def _send(self) -> None:
        if self._timing.dropped:
            self._output.send_json(messages.DROPPED, self._timing.dropped)
            self._timing.dropped.clear()
        headers = [header for _, header in self._held]
        images: Images = ()
        if self._waiting is not None:
            header, newest = self._waiting
            headers.append(header)
            images = () if newest is self._sent else newest
            self._sent = newest
        count = messages.FRAME_COUNT.pack(len(headers))
        self._output.send(messages.FRAME, count, *headers, *(image.data for image in images))
        self._waiting, self._held, self._input.frame_requested = None, [], False
