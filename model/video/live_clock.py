"""Media time of a live stream, from its own timestamps and from the arrival times of its frames.

Pure: the caller passes arrival times in. Timestamps determine the intervals between frames, arrivals the position: the
frame with the shortest delay defines it. Media time therefore never runs ahead of wall-clock time, and late frames
count as late.
"""

import math
from typing import NamedTuple

from model.video.clock_drift import ClockDrift

# A timestamp starts a new timeline if its distance from the previous one differs by more than this from the elapsed
# time.
JUMP_S = 3.0
# If a timestamp comes twice within this time, it is one frame in two parts; some cameras send keyframes this way.
TOGETHER_S = 0.01
# The position moves by this much per second, so that a camera whose clock is slow does not seem to fall behind.
YIELD_PER_S = 0.001


class Moment(NamedTuple):
    """The media time of a frame; `late_s` is how much later than expected it arrived.

    `is_new_timeline`: its timestamp does not continue the previous ones.
    """

    media_s: float
    late_s: float
    is_new_timeline: bool


class LiveClock:
    """Media time of a session, over one connection to its source.

    Args:
        zero_s: the arrival time that is media time 0; None before the first frame of the session.
        after_s: media time of the newest frame of earlier connections. All later frames come after it.
    """

    def __init__(self, zero_s: float | None, after_s: float | None) -> None:
        self._zero_s = math.inf if zero_s is None else zero_s
        self._newest_s = after_s
        self._has_begun = False
        self._offset_s: float | None = None
        self._last: tuple[float, float] | None = None
        self._drift = ClockDrift()

    def early_s(self, pts_s: float | None, arrived_s: float) -> float:
        """Return how long to hold back a frame of a stream that comes in pieces until its time; at most JUMP_S."""
        if self._offset_s is None or pts_s is None or self._has_jumped(pts_s, arrived_s):
            return 0.0
        return min(JUMP_S, max(0.0, pts_s * self._drift.scale + self._offset_s - (arrived_s - self._zero_s)))

    def wait_s(self, media_s: float, now_s: float) -> float:
        """Return how long until a frame as late as `media_s` can arrive; 0 or less if one may already be there."""
        return self._zero_s + media_s - now_s

    def moment(
        self, pts_s: float | None, arrived_s: float, rested_s: float = 0.0, *, was_awaited: bool = False
    ) -> Moment | None:
        """Return the media time of the next frame, or None if it is the second part of the previous frame.

        Args:
            pts_s: its timestamp, which may be missing.
            arrived_s: its arrival time.
            rested_s: how long nothing was read before it; the frame may have arrived that much earlier.
            was_awaited: the reader waited for it, so it was read as it arrived.
        """
        if self._is_other_part(pts_s, arrived_s - rested_s):
            return None
        if not self._has_begun:
            self._zero_s, self._has_begun = min(self._zero_s, arrived_s - (self._newest_s or 0.0)), True
        now_s = arrived_s - self._zero_s
        has_jumped = self._has_jumped(pts_s, arrived_s)
        media_s = now_s if pts_s is None else self._from_timestamp(pts_s, arrived_s, now_s, has_jumped)
        if self._newest_s is not None and media_s <= self._newest_s:
            return None
        self._newest_s = media_s
        if was_awaited and pts_s is not None and not has_jumped:
            self._follow_drift(pts_s, now_s - media_s, arrived_s)
        return Moment(media_s, now_s - media_s, has_jumped)

    def restart(self) -> None:
        """Treat the next frame as the one with the shortest delay, because the whole stream is later now."""
        self._offset_s = None

    def _from_timestamp(self, pts_s: float, arrived_s: float, now_s: float, has_jumped: bool) -> float:
        last, self._last = self._last, (pts_s, arrived_s)
        if self._offset_s is not None and last is not None:
            self._offset_s += YIELD_PER_S * (arrived_s - last[1])
            media_s = pts_s * self._drift.scale + self._offset_s
            is_known = not has_jumped and pts_s > last[0] and media_s > (self._newest_s or 0.0)
            if is_known and now_s - JUMP_S <= media_s <= now_s:
                return media_s
        # For the first frame, a timestamp that repeats, goes back or leaps, or a shorter delay, only the arrival
        # counts.
        self._offset_s = now_s - pts_s * self._drift.scale
        return now_s

    def _follow_drift(self, pts_s: float, late_s: float, arrived_s: float) -> None:
        """Follow a source whose clock is slow, since none of its frames is missing."""
        if self._offset_s is not None:
            scale = self._drift.scale
            self._offset_s += self._drift.add(pts_s, late_s, arrived_s)
            self._offset_s += pts_s * (scale - self._drift.scale)

    def _is_other_part(self, pts_s: float | None, arrived_s: float) -> bool:
        return self._last is not None and pts_s == self._last[0] and arrived_s - self._last[1] < TOGETHER_S

    def _has_jumped(self, pts_s: float | None, arrived_s: float) -> bool:
        if pts_s is None or self._last is None:
            return False
        last_pts_s, last_arrived_s = self._last
        return abs((pts_s - last_pts_s) - (arrived_s - last_arrived_s)) > JUMP_S
