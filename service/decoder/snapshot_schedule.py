"""When a decoder makes a snapshot. Pure: the time is an argument."""

import math

# If a frame is this late, there is too little time for more snapshots.
LATE_S = 0.05
# The interval without watchers or while time is short. A client that starts watching finds a snapshot no older than
# this.
AT_LEAST_EVERY_S = 5.0


class SnapshotSchedule:
    """The schedule of one source; `snapshot_hz` may be 0."""

    def __init__(self, snapshot_hz: float) -> None:
        self._every_s = 1.0 / snapshot_hz if snapshot_hz > 0 else math.inf
        self._last_s = -math.inf if snapshot_hz > 0 else math.inf

    def is_due(self, now_s: float, *, late_s: float, is_watched: bool) -> bool:
        """Whether to make a snapshot of the frame that was just sent, `late_s` late; if so, the interval restarts."""
        is_rare = late_s > LATE_S or not is_watched
        every_s = max(self._every_s, AT_LEAST_EVERY_S) if is_rare else self._every_s
        if now_s - self._last_s < every_s:
            return False
        self._last_s = now_s
        return True
