"""When a decoder makes a picture for people. Pure: the caller says what time it is."""

import math

# A frame that is so late shows that there is too little time for more pictures.
LATE_S = 0.05
# While nobody looks, or there is too little time: whoever begins to look finds one that is no older.
AT_LEAST_EVERY_S = 5.0


class SnapshotTimes:
    """Of one source; `snapshot_hz` may be 0."""

    def __init__(self, snapshot_hz: float) -> None:
        self._every_s = 1.0 / snapshot_hz if snapshot_hz > 0 else math.inf
        self._last_s = -math.inf if snapshot_hz > 0 else math.inf

    def is_due(self, now_s: float, *, late_s: float, is_watched: bool) -> bool:
        """Whether the frame that was sent now, so late, is to be seen by people; if so, the next is not for a while."""
        is_seldom = late_s > LATE_S or not is_watched
        every_s = max(self._every_s, AT_LEAST_EVERY_S) if is_seldom else self._every_s
        if now_s - self._last_s < every_s:
            return False
        self._last_s = now_s
        return True
