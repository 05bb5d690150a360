"""Where a video has a gap: the rule by which sessions, `cake detect` and evaluation restart the detector."""

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

# A longer gap ends the actions in progress, and detection restarts after it.
GAP_S = 2.0
# A source that sends frames less often than that has a gap after this many of its shortest recent intervals.
GAP_INTERVALS, RECENT_INTERVALS = 1.5, 5


class GapRule:
    """Decides from the intervals between sampled frames whether one of them is a gap."""

    def __init__(self) -> None:
        self._intervals_s: deque[float] = deque(maxlen=RECENT_INTERVALS)

    def is_gap(self, interval_s: float) -> bool:
        """Return whether the detector restarts after `interval_s` without a frame."""
        usual_s = min(self._intervals_s, default=math.inf)
        return interval_s > max(GAP_S, GAP_INTERVALS * usual_s)

    def add(self, interval_s: float) -> None:
        """Take an interval into account for later decisions, whether it was a gap or not."""
        self._intervals_s.append(interval_s)


def frames_after_gaps(pts_s_T: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which frames come after a gap, given their increasing media times: (T,)."""
    rule = GapRule()
    after_gap_T = np.zeros(len(pts_s_T), bool)
    for number, interval_s in enumerate(np.diff(pts_s_T).tolist(), start=1):
        after_gap_T[number] = rule.is_gap(interval_s)
        rule.add(interval_s)
    return after_gap_T
