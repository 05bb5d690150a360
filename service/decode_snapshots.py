"""When a decoder makes a picture for people. Pure: the caller says what time it is."""

import math

# A frame that is so late shows that there is too little time: pictures for people then come this seldom.
LATE_S = 0.05
AT_LEAST_EVERY_S = 5.0


class SnapshotTimes:
    """Of one source; `snapshot_hz` may be 0."""

    def __init__(self, snapshot_hz: float) -> None:
        self._every_s = 1.0 / snapshot_hz if snapshot_hz > 0 else math.inf
        self._last_s = -math.inf if snapshot_hz > 0 else math.inf

    def is_due(self, now_s: float, *, late_s: float) -> bool:
        """Whether the frame that was sent now, so late, is to be seen by people; if so, the next is not for a while."""
        every_s = max(self._every_s, AT_LEAST_EVERY_S) if late_s > LATE_S else self._every_s
        if now_s - self._last_s < every_s:
            return False
        self._last_s = now_s
        return True
