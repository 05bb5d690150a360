"""Learn whether the packets of a camera reveal motion before they are decoded, and from which deviation on.

Pure. A frame that resembles the previous one takes few bytes, except for sensor noise and if an encoder fills a
constant bit rate, in which case it quantises motion more coarsely. Neither size nor quantiser is meaningful alone: what
counts is how both deviated while the frames themselves showed whether something moved. The weights of the two are those
of Fisher's linear discriminant, and scores are counted in standard deviations of stillness.
"""

from collections import deque
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.video.expected_packets import Deviation

Decoding = Literal["learning", "on_motion", "no_signal"]
"""What must be decoded: everything, to learn; everything while something moves; or everything, because packets do
not reveal motion.
"""
# A minute of still frames at 10 Hz.
REMEMBERED_STILL, REMEMBERED_ONSETS, REMEMBERED_MOVING = 600, 10, 200
LEAST_STILL = 200
# Motion begins after at least this many still frames.
STILL_BEFORE_ONSET = 10
# The largest score of this many frames counts as that of an onset: one that is noticed this much later still counts.
ONSET_FRAMES = 3
# The largest still score leaves out one frame in this many, because something may flicker.
OUTLIER_IN = 200
# The threshold lies above the largest still score by a share of the distance to the smallest onset; the fewer onsets
# are known, the smaller the share. It always lies below the smallest onset.
SHARES_OF_DISTANCE = (0.1, 0.2, 0.3)
SHARE_OF_ONSET = 0.9
# At most one still frame in this many may be above the threshold; with more, decoding on motion saves little.
FALSE_IN = 50
# The weights are recomputed after this many still frames.
UPDATE_EVERY = 10
# Deviations below these are rounding errors; motion is assumed to have this deviation while little of it has been seen.
LEAST_DEVIATION, EXPECTED_DEVIATION, EXPECTED_FRAMES = (0.01, 0.1), (0.1, 0.3), 5


class PacketSizes:
    """The deviations of one camera's packets, each with whether something moved from the detector's point of view."""

    def __init__(self) -> None:
        self._still: deque[Deviation] = deque(maxlen=REMEMBERED_STILL)
        self._moving: deque[Deviation] = deque(maxlen=REMEMBERED_MOVING)
        self._onsets: deque[list[Deviation]] = deque(maxlen=REMEMBERED_ONSETS)
        self._still_in_a_row = self._since_update = 0
        self._began: list[Deviation] = []
        self._changes = 0
        self._weights, self._offset, self._largest_still = (1.0, 0.0), 0.0, 0.0
        self._threshold: float | None = None

    @property
    def decoding(self) -> Decoding:
        """What must be decoded, given what is known about the packets."""
        if len(self._still) < LEAST_STILL or not self._onsets:
            return "learning"
        return "no_signal" if self._threshold is None else "on_motion"

    @property
    def threshold(self) -> float | None:
        """The score above which a packet may show motion; None unless packets reveal motion."""
        return self._threshold if self.decoding == "on_motion" else None

    @property
    def is_still(self) -> bool:
        """Whether the last frames were still; right after motion, an encoder still refines the image."""
        return self._still_in_a_row >= STILL_BEFORE_ONSET

    @property
    def is_amid_motion(self) -> bool:
        """Whether nothing can be learnt from the next packet, because something moves and enough is known about
        motion.
        """
        return self._still_in_a_row == 0 and not self._began and len(self._moving) == REMEMBERED_MOVING

    def score(self, deviation: Deviation) -> float:
        """Return how strongly a deviation indicates motion, in standard deviations of still frames."""
        return self._weights[0] * deviation.size + self._weights[1] * deviation.quantiser - self._offset

    def add_decoded(self, deviation: Deviation | None, *, is_moving: bool, follows_kept: bool = False) -> float | None:
        """Learn from the next decoded frame. Returns the score of an onset that is complete with it.

        A single change is not motion: it may be a keyframe, which differs from the previous frames by how it is coded.
        After kept packets it counts, because other changes were not seen.

        Args:
            deviation: None for a keyframe, which is not compared, and for packets that were not looked at.
        """
        found = [] if deviation is None else [deviation]
        if not self._began and is_moving and self.is_still:
            # A keyframe that begins it counts as a still frame, and no threshold lies below still frames.
            self._began, self._changes = found or [Deviation(0.0, 0.0)], 1 + follows_kept
        elif self._began:
            self._began += found or self._began[-1:]
            self._changes += is_moving
        self._still_in_a_row = 0 if is_moving else self._still_in_a_row + 1
        if is_moving:
            self._moving.extend(found)
        elif self.is_still:
            self._add_still(found)
        if len(self._began) < ONSET_FRAMES or not self._still:
            return None
        began, self._began = self._began, []
        if self._changes < 2:
            return None
        self._onsets.append(began)
        self._update()
        return self._onset_score(began)

    def add_kept(self, deviation: Deviation) -> None:
        """Learn from a frame that is still according to its packets. It cannot raise the threshold, because it was
        not decoded.
        """
        self._began, self._still_in_a_row = [], STILL_BEFORE_ONSET
        if self.score(deviation) <= self._largest_still:
            self._add_still([deviation])

    def interrupt(self) -> None:
        """Note that frames are missing before the next one, which may therefore differ from the last."""
        self._began, self._still_in_a_row = [], 0

    def _add_still(self, found: list[Deviation]) -> None:
        self._still.extend(found)
        self._since_update += 1
        if self._since_update >= UPDATE_EVERY:
            self._update()

    def _onset_score(self, began: list[Deviation]) -> float:
        return max(map(self.score, began))

    def _update(self) -> None:
        self._since_update = 0
        if not self._still or not self._onsets:
            return
        still_N2 = np.array(self._still)
        self._weigh(still_N2)
        scores_N = np.sort(still_N2 @ self._weights - self._offset)
        largest = self._largest_still = float(scores_N[-1 - len(scores_N) // OUTLIER_IN])
        onset = min(map(self._onset_score, self._onsets))
        share = SHARES_OF_DISTANCE[min(len(self._onsets), len(SHARES_OF_DISTANCE)) - 1]
        threshold = min(largest + share * (onset - largest), SHARE_OF_ONSET * onset)
        is_told = threshold > 0 and threshold >= scores_N[-1 - len(scores_N) // FALSE_IN]
        self._threshold = threshold if is_told else None

    def _weigh(self, still_N2: NDArray[np.float64]) -> None:
        """Choose the weights that separate motion from stillness best; neither points away from motion."""
        mean_2, moving_N2 = still_N2.mean(0), np.array(self._moving).reshape(-1, 2)
        covariance = (still_N2 - mean_2).T @ (still_N2 - mean_2) / len(still_N2) + np.diag(np.square(LEAST_DEVIATION))
        expected_2 = EXPECTED_FRAMES * np.array(EXPECTED_DEVIATION)
        shift_2 = ((moving_N2 - mean_2).sum(0) + expected_2) / (len(moving_N2) + EXPECTED_FRAMES)
        weights_2 = np.linalg.solve(covariance, shift_2)
        if weights_2.min() <= 0:
            weights_2 = np.maximum(shift_2, 0) / np.diag(covariance) * (shift_2 == shift_2.max())
        if weights_2.max() <= 0:
            weights_2 = np.array([1.0, 0.0])
        weights_2 /= np.sqrt(weights_2 @ covariance @ weights_2)
        self._weights, self._offset = (float(weights_2[0]), float(weights_2[1])), float(weights_2 @ mean_2)
