"""Media time in seconds, and the slots in which frames are sampled."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Self

# Times that differ by less count as equal: 0.3 - 0.1 is slightly less than 0.2.
SAME_TIME_S = 1e-6

TimeZero = Literal["source_start", "first_frame"]
"""The point that is media time 0 of a file. Players count from the start of the source; earlier sessions counted
from the first frame.
"""


@dataclass(frozen=True)
class MediaClock:
    """Converts timestamps of a stream to media time, in integers: fractions are slow for every single frame."""

    base_pts: int
    numerator: int
    denominator: int

    @classmethod
    def of(cls, base_pts: int | None, time_base: Fraction | None) -> Self | None:
        """Return None for a stream without timestamps."""
        if base_pts is None or time_base is None:
            return None
        return cls(base_pts, time_base.numerator, time_base.denominator)

    def media_s(self, pts: int) -> float:
        """Return the media time of a timestamp."""
        return (pts - self.base_pts) * self.numerator / self.denominator

    def pts(self, media_s: float) -> int:
        """Return the timestamp at a media time, or the last one before it."""
        return self.base_pts + int(media_s * self.denominator / self.numerator)


def slot(media_s: float, sample_hz: float) -> int:
    """Return the number of the slot of 1/sample_hz seconds to which a frame belongs."""
    return math.floor(media_s * sample_hz + SAME_TIME_S)
