"""Learn whether the coded sizes of a camera's frames tell motion, and from which size on.

Pure. A frame that resembles the one before takes few bytes, except for sensor noise, and where an encoder fills a
constant bit rate. So a size means nothing by itself: what counts is how sizes were while the frames themselves showed
whether something moved.
"""

from collections import deque
from statistics import median
from typing import Literal, NamedTuple

Decoding = Literal["learning", "on_motion", "no_signal"]
"""What has to be decoded: everything, to learn; everything while something moves; or everything, because sizes do not
tell motion."""
# A minute of still frames at 10 Hz.
REMEMBERED_STILL, REMEMBERED_ONSETS = 600, 10
LEAST_STILL, LEAST_ONSETS = 200, 3
# Motion begins where so many still frames came before.
STILL_BEFORE_ONSET = 10
# The largest size of so many frames counts as that of an onset: one that is noticed so much later still counts.
ONSET_FRAMES = 3
# The largest still size leaves out one frame in so many: something may flicker.
OUTLIER_IN = 200
# The threshold lies above the largest still size by this share of the distance to the smallest onset.
SHARE_OF_DISTANCE = 0.3
# The smallest onset has to be larger than the largest still size by this factor.
SEPARATION = 1.1


class _Onset(NamedTuple):
    """The size at which motion began, and how large still frames were at that time."""

    size_bytes: float
    still_bytes: float


class PacketSizes:
    """The sizes of one camera, in bytes, each with whether something moved in the frame as the detector sees it."""

    def __init__(self) -> None:
        self._still: deque[float] = deque(maxlen=REMEMBERED_STILL)
        self._onsets: deque[_Onset] = deque(maxlen=REMEMBERED_ONSETS)
        self._still_in_a_row = 0
        self._began: list[float] = []
        self._changes = 0
        self._threshold: float | None = None

    @property
    def decoding(self) -> Decoding:
        """What has to be decoded, by what is known of the sizes."""
        if len(self._still) < LEAST_STILL or len(self._onsets) < LEAST_ONSETS:
            return "learning"
        return "no_signal" if self._threshold is None else "on_motion"

    @property
    def threshold_bytes(self) -> float | None:
        """The size above which a frame may show motion; None unless sizes tell motion."""
        return self._threshold if self.decoding == "on_motion" else None

    def add_decoded(self, size_bytes: float, *, is_moving: bool, follows_kept: bool = False) -> float | None:
        """Learn from the next decoded frame. Returns the size of an onset that is complete with it.

        A single change is no motion: it may be a keyframe, which differs from the frames before by how it is coded.
        After kept packets it counts, because what else changed was not seen.
        """
        if not self._began and is_moving and self._still_in_a_row >= STILL_BEFORE_ONSET:
            self._began, self._changes = [size_bytes], 1 + follows_kept
        elif self._began:
            self._began.append(size_bytes)
            self._changes += is_moving
        self._still_in_a_row = 0 if is_moving else self._still_in_a_row + 1
        # Right after motion, an encoder still refines what it has left.
        if self._still_in_a_row >= STILL_BEFORE_ONSET:
            self._still.append(size_bytes)
            self._update()
        if len(self._began) < ONSET_FRAMES or not self._still:
            return None
        onset, self._began = max(self._began), []
        if self._changes < 2:
            return None
        self._onsets.append(_Onset(onset, median(self._still)))
        self._update()
        return onset

    def add_kept(self, size_bytes: float) -> None:
        """Take in a frame that is still by its size. It cannot raise the threshold: it was not decoded."""
        self._began, self._still_in_a_row = [], STILL_BEFORE_ONSET
        if self._still:
            self._still.append(min(size_bytes, self._largest_still()))
            self._update()

    def interrupt(self) -> None:
        """Note that frames are missing before the next one, which may differ from the last by what they held."""
        self._began, self._still_in_a_row = [], 0

    def _largest_still(self) -> float:
        return sorted(self._still)[-1 - len(self._still) // OUTLIER_IN]

    def _update(self) -> None:
        if not self._still or not self._onsets:
            return
        largest, typical = self._largest_still(), median(self._still)
        # If still frames are smaller or larger now than they were, the next onset may be, too, or not.
        onset = min(size * min(1.0, typical / still) for size, still in self._onsets)
        is_separate = onset >= SEPARATION * largest
        self._threshold = largest + SHARE_OF_DISTANCE * (onset - largest) if is_separate else None
