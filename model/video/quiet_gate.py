"""Decide which packets of a camera to keep undecoded, because nothing moves.

Pure: sizes and quantisers of packets, images and times are passed in. Motion means a change that the detector could see
between two of its inputs.
"""

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from model.video.expected_packets import CodedPacket, Deviation, ExpectedPackets
from model.video.packet_sizes import Decoding, PacketSizes

# Squares of the detector's input are compared by their mean difference, in levels out of 255.
SQUARE_PX = 8
MOVING_LEVELS = 4.0
# What differs from the image shown by no more than this is not shown: sensor noise, and light that changes slowly.
STILL_LEVELS = 3.0
# Frames are decoded for this long after the last motion, and after a packet that turned out to show none.
HOLD_S, DOUBT_S = 2.0, 1.0
# This often, frames are decoded for this long although nothing moves, to learn how sizes change with the light.
LOOK_EVERY_S, LOOK_FOR_S = 60.0, 3.0
# Packets are compared as means over this time, because motion lasts longer than noise.
MEAN_OVER_S = 0.095


Images = tuple[NDArray[np.uint8], ...]


def largest_change(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Return the mean difference, in levels out of 255, of the square that differs most between two images (H, W,
    3).
    """
    height, width = (side // SQUARE_PX * SQUARE_PX for side in after.shape[:2])
    difference = np.maximum(before, after) - np.minimum(before, after)
    # Whole rows are added first, because sums of few adjacent values are slow.
    rows = difference[:height].reshape(height // SQUARE_PX, SQUARE_PX, -1).sum(1, dtype=np.uint16)
    squares = rows[:, : 3 * width].reshape(height // SQUARE_PX, width // SQUARE_PX, 3 * SQUARE_PX)
    return float(squares.sum(2, dtype=np.uint32).max()) / (SQUARE_PX * SQUARE_PX * 3)


def _change(before: Images, after: Images) -> float:
    return max(largest_change(*pair) for pair in zip(before, after, strict=True))


class QuietGate:
    """Follows one connection to a camera: each packet, and the detector's inputs for sampled frames.

    `misses` counts keyframes that showed that something had moved while packets were kept.
    """

    def __init__(self) -> None:
        self._sizes, self._expected = PacketSizes(), ExpectedPackets()
        self._newest: deque[tuple[float, Deviation]] = deque()
        # Since the last image: the number of packets, and the deviation with the highest score.
        self._unseen: list[CodedPacket] = []
        self._most: Deviation | None = None
        self._most_kept: Deviation | None = None
        self._images: Images | None = None
        self._shown: Images | None = None
        self._now_s = self._decodes_until_s = self._looks_at_s = -math.inf
        self._is_quiet = self._has_kept = self._may_miss = False
        self.misses = 0

    @property
    def decoding(self) -> Decoding:
        """How the camera is currently decoded."""
        return self._sizes.decoding

    @property
    def needs_packet(self) -> bool:
        """Whether `keeps` needs the next packet; while things move, it does not."""
        return not self._sizes.is_amid_motion or self._now_s >= self._decodes_until_s - DOUBT_S

    def restart(self) -> None:
        """Learn again, because the stream is now coded differently."""
        self._sizes, self._expected = PacketSizes(), ExpectedPackets()
        self._newest.clear()
        self._unseen, self._most, self._most_kept = [], None, None

    def interrupt(self) -> None:
        """Note that packets were left out before the next one, which is a keyframe."""
        self._images, self._has_kept, self._may_miss = None, False, False
        self._sizes.interrupt()

    def keeps(self, packet: CodedPacket | None, at_s: float, *, may_keep: bool) -> bool:
        """Process the next packet, which is not a keyframe. Return whether to keep it undecoded.

        Args:
            packet: None if it was not needed.
            at_s: its timestamp in seconds.
            may_keep: whether that is possible.
        """
        if at_s < self._now_s:
            # The clock of the source was restarted.
            self._decodes_until_s = self._looks_at_s = at_s
            self._newest.clear()
        self._now_s = at_s
        if packet is None:
            self._is_quiet = False
            return False
        score = self._score_with(packet)
        threshold = self._sizes.threshold
        if threshold is None or score > threshold:
            self._decodes_until_s = max(self._decodes_until_s, at_s + DOUBT_S)
        elif at_s >= self._looks_at_s:
            self._decodes_until_s, self._looks_at_s = at_s + LOOK_FOR_S, at_s + LOOK_EVERY_S
        self._is_quiet = may_keep and at_s >= self._decodes_until_s
        return self._is_quiet

    def see(self, images: Images) -> Images:
        """Process the images of a frame, one for each region; they are the same object if a frame is shown again.

        Returns:
            The images for the detector: these, or the ones it got last if nothing differs from them.
        """
        before, self._images = self._images, images
        shown = images if self._shown is None else self._shown
        most, self._most = self._most, None
        if images is before:
            if self._is_quiet and most is not None:
                self._has_kept, self._most_kept = True, self._larger(self._most_kept, most)
                self._sizes.add_kept(most)
        else:
            change = math.inf if before is None else _change(before, images)
            if before is not None:
                self._learn(most, is_moving=change > MOVING_LEVELS)
            if before is not shown:
                change = _change(shown, images)
            if change > STILL_LEVELS:
                shown = images
        if self._sizes.is_still:
            for packet in self._unseen:
                self._expected.learn(packet, is_kept=self._is_quiet)
        self._unseen.clear()
        self._shown = shown
        return shown

    def _score_with(self, packet: CodedPacket) -> float:
        self._unseen.append(packet)
        self._newest.append((self._now_s, self._expected.deviation(packet)))
        while self._newest[0][0] <= self._now_s - MEAN_OVER_S:
            self._newest.popleft()
        sums = (sum(values) for values in zip(*(deviation for _, deviation in self._newest), strict=True))
        mean = Deviation(*(value / len(self._newest) for value in sums))
        self._most = self._larger(self._most, mean)
        return self._sizes.score(mean)

    def _larger(self, one: Deviation | None, other: Deviation) -> Deviation:
        return other if one is None else max(one, other, key=self._sizes.score)

    def _learn(self, most: Deviation | None, *, is_moving: bool) -> None:
        """Learn from a decoded frame, which may be the first one after kept packets."""
        follows_kept, self._has_kept = self._has_kept, False
        if is_moving:
            self._decodes_until_s = self._now_s + HOLD_S
            self._may_miss |= follows_kept
            if self._most_kept is not None:
                most = self._larger(most, self._most_kept)
        self._most_kept = None
        threshold = self._sizes.threshold
        onset = self._sizes.add_decoded(most, is_moving=is_moving, follows_kept=follows_kept)
        if onset is not None:
            # Motion that begins at a keyframe shows in the packets that follow it.
            self.misses += self._may_miss and threshold is not None and onset <= threshold
            self._may_miss = False
