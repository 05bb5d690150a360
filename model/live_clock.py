"""Media time of a live stream, from its own timestamps and from the moments at which its pictures arrive.

Pure: the caller says when a picture arrived. Timestamps give the distances between pictures, arrivals the position: the
picture that took the shortest way sets it, so media time never runs ahead of the clock on the wall, and what comes late
counts as late.
"""

import math
from typing import NamedTuple

# A timestamp that leaves its predecessor by so much more, or less, than the time that passed begins another timeline.
JUMP_S = 3.0
# A timestamp that comes twice within that is one picture in two parts, as some cameras send their keyframes.
TOGETHER_S = 0.01
# The position yields by so much per second, so that a camera whose clock is slow does not seem to fall behind.
YIELD_PER_S = 0.001


class Moment(NamedTuple):
    """When a picture was taken, in media time; `late_s` is how much later than expected it came.

    `is_new_timeline`: its timestamp has nothing to do with those before.
    """

    media_s: float
    late_s: float
    is_new_timeline: bool


class LiveClock:
    """Media time of a session over one connection to its source.

    Args:
        zero_s: the moment that is media time 0, on the clock of the arrivals; None where there was no picture yet.
        after_s: media time of the newest picture of earlier connections; all that follows is later, whatever `zero_s`.
    """

    def __init__(self, zero_s: float | None, after_s: float | None) -> None:
        self._zero_s = math.inf if zero_s is None else zero_s
        self._newest_s = after_s
        self._has_begun = False
        self._offset_s: float | None = None
        self._last: tuple[float, float] | None = None

    def early_s(self, pts_s: float | None, arrived_s: float) -> float:
        """For streams that come in pieces: how long to hold a picture back, at most JUMP_S, to play it at its time."""
        if self._offset_s is None or pts_s is None or self._has_jumped(pts_s, arrived_s):
            return 0.0
        return min(JUMP_S, max(0.0, pts_s + self._offset_s - (arrived_s - self._zero_s)))

    def wait_s(self, media_s: float, now_s: float) -> float:
        """How long until a picture can come that is as late as `media_s`; not above 0 when one may be there already."""
        return self._zero_s + media_s - now_s

    def moment(self, pts_s: float | None, arrived_s: float, rested_s: float = 0.0) -> Moment | None:
        """Of the next picture, whose timestamp may be missing; None if it arrived together with one that counts.

        `rested_s`: for how long nothing was read before; it may have arrived so much earlier.
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
        return Moment(media_s, now_s - media_s, has_jumped)

    def restart(self) -> None:
        """Take the next picture for one that came the shortest way: the stream as a whole is later now."""
        self._offset_s = None

    def _from_timestamp(self, pts_s: float, arrived_s: float, now_s: float, has_jumped: bool) -> float:
        last, self._last = self._last, (pts_s, arrived_s)
        if self._offset_s is not None and last is not None:
            self._offset_s += YIELD_PER_S * (arrived_s - last[1])
            media_s = pts_s + self._offset_s
            is_known = not has_jumped and pts_s > last[0] and media_s > (self._newest_s or 0.0)
            if is_known and now_s - JUMP_S <= media_s <= now_s:
                return media_s
        # The first, or it repeats, goes back or leaps, or took a shorter way: its arrival is all that is known.
        self._offset_s = now_s - pts_s
        return now_s

    def _is_other_part(self, pts_s: float | None, arrived_s: float) -> bool:
        return self._last is not None and pts_s == self._last[0] and arrived_s - self._last[1] < TOGETHER_S

    def _has_jumped(self, pts_s: float | None, arrived_s: float) -> bool:
        if pts_s is None or self._last is None:
            return False
        last_pts_s, last_arrived_s = self._last
        return abs((pts_s - last_pts_s) - (arrived_s - last_arrived_s)) > JUMP_S
