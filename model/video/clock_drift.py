"""How a live source's clock drifts relative to ours, measured with frames that were read at the moment they arrived.

Pure: the caller passes the times in. A slow clock makes frames seem later and later although none is missing and none
waits to be read. The lateness of a window of time is that of its least late frame.
"""

import math

WINDOW_S, MIN_FRAMES = 0.5, 3
# Smaller delays are jitter.
LATE_S = 0.02
# After this many late windows in a row, the cause is a slow clock and not a network path that became longer.
SLOW_WINDOWS = 3


class ClockDrift:
    """The drift of one connection. `scale`, at least 1, is the factor for the source's time differences."""

    def __init__(self) -> None:
        self.scale = 1.0
        self._windows, self._are_late = 0, False
        self._run_began: tuple[float, float] | None = None
        self._frames, self._window_began_s, self._least_late_s, self._is_early = 0, 0.0, math.inf, True

    def add(self, pts_s: float, late_s: float, arrived_s: float) -> float:
        """Note a frame that arrived `late_s` after its time, or 0 if it had the shortest delay so far.

        Returns how much later the whole stream is than assumed; usually 0.
        """
        if not self._frames:
            self._window_began_s = arrived_s
        if self._run_began is None:
            self._run_began = pts_s, arrived_s
        self._frames += 1
        self._least_late_s = min(self._least_late_s, late_s)
        self._is_early = self._is_early and late_s <= 0
        if arrived_s - self._window_began_s < WINDOW_S or self._frames < MIN_FRAMES:
            return 0.0
        least_late_s, is_late, is_early = self._least_late_s, self._least_late_s >= LATE_S, self._is_early
        self._frames, self._least_late_s, self._is_early = 0, math.inf, True
        self._count_window(pts_s, arrived_s, is_late=is_late, is_off=is_late or (is_early and self.scale > 1.0))
        return least_late_s if is_late else 0.0

    def _count_window(self, pts_s: float, arrived_s: float, *, is_late: bool, is_off: bool) -> None:
        """Measure the clock again at the end of enough windows in a row that are all late, or all early."""
        assert self._run_began is not None
        self._windows = self._windows + 1 if is_off and is_late == self._are_late else int(is_off)
        self._are_late = is_late
        if self._windows >= SLOW_WINDOWS:
            began_pts_s, began_arrived_s = self._run_began
            passed_s = pts_s - began_pts_s
            self.scale = max(1.0, (arrived_s - began_arrived_s) / passed_s) if passed_s > 0 else 1.0
        if not 0 < self._windows < SLOW_WINDOWS:
            self._windows, self._run_began = 0, None
