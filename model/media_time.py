"""Media time: seconds from the first picture of a stream, and the slots in which pictures are sampled."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

# Times that differ by less are the same.
SAME_TIME_S = 1e-6


@dataclass(frozen=True)
class MediaClock:
    """Turns a stream's timestamps into media time. In whole numbers: fractions take long, for each of all pictures."""

    base_pts: int
    numerator: int
    denominator: int

    @classmethod
    def of(cls, base_pts: int | None, time_base: Fraction | None) -> Self | None:
        """None for a stream without timestamps."""
        if base_pts is None or time_base is None:
            return None
        return cls(base_pts, time_base.numerator, time_base.denominator)

    def media_s(self, pts: int) -> float:
        return (pts - self.base_pts) * self.numerator / self.denominator

    def pts(self, media_s: float) -> int:
        """The timestamp at that time, or the last one before it."""
        return self.base_pts + int(media_s * self.denominator / self.numerator)


def slot(media_s: float, sample_hz: float) -> int:
    """The number of the slot of 1/sample_hz seconds to which a picture belongs."""
    return math.floor(media_s * sample_hz + SAME_TIME_S)
