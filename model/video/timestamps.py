"""Media times of the frames of a file whose timestamps may be missing, out of order, wrong, or restart.

Pure: no decoder, no file. Every frame gets a time after that of the frame before, so no frame is lost.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Generic, NamedTuple, TypeVar

from model.video.media_time import MediaClock

# A frame is checked against the next one if it comes more than this many steps after the frame before.
CHECKED_STEPS = 2.5
# A leap forward that the next frame confirms is a gap if it is at most this long; a longer one means that the clock was
# set.
LONGEST_GAP_S = 3600.0
# A leap forward of the last frame, which no later frame can confirm, is a wrong timestamp if it is longer than this.
LONGEST_LAST_STEP_S = 10.0
# Timestamps in decoding order differ from those in display order by less than this.
REORDERED_S = 1.0
# If a frame claims to be displayed for longer, this says nothing about the distance of frames.
LONGEST_SHOWN_S = 1.0

T = TypeVar("T")


def leaps(last_s: float, next_s: float) -> bool:
    """Return whether a clock was restarted or set between two successive decoding timestamps."""
    return not 0 < next_s - last_s <= LONGEST_GAP_S


class FrameClock:
    """Media time of the clock of a file, from the timestamps that decoded frames carry.

    This is FFmpeg's best-effort rule, which PyAV does not expose: presentation timestamps (pts) are used unless they
    went backwards more often than decoding timestamps (dts). AVI stores no pts, and copies of AVI in other containers,
    MXF and ASF may store the order of decoding as pts. Decoders return frames in display order, so in these cases the
    dts are right up to a constant delay, which cancels out. Unlike in FFmpeg, a single timestamp far ahead of its
    neighbours is no reason to distrust the others.
    """

    def __init__(self, pts: int | None, dts: int | None, time_base: Fraction | None, lead: int = 0) -> None:
        """Start at the first frame.

        Args:
            pts: its presentation timestamp, in units of `time_base` seconds.
            dts: the decoding timestamp that came with it.
            lead: its media time, in the same units.
        """
        first_pts, first_dts = dts if pts is None else pts, pts if dts is None else dts
        self._from_pts = None if first_pts is None else MediaClock.of(first_pts - lead, time_base)
        self._from_dts = None if first_dts is None else MediaClock.of(first_dts - lead, time_base)
        self._last_pts: int | None = None
        self._pts_before_leap: int | None = None
        self._reordered_ticks = REORDERED_S / time_base if time_base else math.inf
        self._lone_leaps = 0
        self._last_dts: int | None = None
        self._pts_faults = self._dts_faults = 0

    @property
    def is_sound(self) -> bool:
        """Whether timestamps have always increased so far."""
        return self._pts_faults == self._dts_faults == self._lone_leaps == 0

    def seconds(self, pts: int | None, dts: int | None) -> float | None:
        """Return the media time of the next frame in display order, or None if it has no usable timestamp."""
        if dts is not None:
            self._dts_faults += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        if pts is not None:
            if self._last_pts is not None:
                self._note_order(self._last_pts, pts)
            self._last_pts = pts
        if self._last_dts is not None and self._pts_faults > self._dts_faults:
            return None if dts is None or self._from_dts is None else self._from_dts.media_s(dts)
        stamp = dts if pts is None else pts
        return None if stamp is None or self._from_pts is None else self._from_pts.media_s(stamp)

    def _note_order(self, last_pts: int, pts: int) -> None:
        """Count a presentation timestamp that went backwards, but not the return from a single one far ahead."""
        before, self._pts_before_leap = self._pts_before_leap, None
        if pts <= last_pts:
            is_back = before is not None and pts > before
            self._lone_leaps += is_back
            self._pts_faults += not is_back
        elif pts - last_pts > self._reordered_ticks:
            self._pts_before_leap = last_pts


class _Stamped(NamedTuple, Generic[T]):
    frame: T
    media_s: float


class FrameTimeline(Generic[T]):
    """Turns the clock of a file into media time that always increases.

    - A timestamp that leaps, and that the next frame does not confirm, is wrong. Its frame is put between its
      neighbours.
    - A clock that goes back for good, or ahead by more than LONGEST_GAP_S, was restarted or set, as in concatenated
      recordings. Time continues one step later.
    - A frame without a timestamp follows one step after the previous frame.

    `restarts` counts such clocks, and `corrected` frames whose timestamp was wrong.

    Args:
        step_s: the distance of two frames by the stated rate, as long as no frame says for how long it is shown.
        last_s: the media time after which frames follow, if a decode is resumed there.
    """

    def __init__(self, step_s: float, last_s: float | None = None) -> None:
        self.restarts = self.corrected = 0
        self._step_s = self._last_step_s = step_s
        self._last_s = last_s
        self._offset_s = 0.0
        self._held: _Stamped[T] | None = None

    def add(self, frame: T, clock_s: float | None, shown_s: float | None = None) -> Iterator[tuple[T, float]]:
        """Add the next frame, whose clock shows `clock_s`. Yields frames with their media times, at most one late.

        Args:
            shown_s: for how long the frame is displayed, according to the decoder; None if unknown.
        """
        if shown_s is not None and 0 < shown_s <= LONGEST_SHOWN_S:
            self._step_s = shown_s
        if self._held is not None and self._last_s is not None:
            held, self._held = self._held, None
            yield self._settle(held, self._last_s, clock_s)
        if self._last_s is None:
            yield self._at(frame, 0.0 if clock_s is None else clock_s)
        elif clock_s is None:
            yield self._at(frame, self._last_s + self._step_s)
        else:
            media_s = clock_s + self._offset_s
            if self._last_s < media_s <= self._last_s + CHECKED_STEPS * self._last_step_s:
                yield self._at(frame, media_s)
            else:
                self._held = _Stamped(frame, media_s)

    def finish(self) -> Iterator[tuple[T, float]]:
        """Yield the frame that waits for the next one, if any."""
        if self._held is not None and self._last_s is not None:
            held, self._held = self._held, None
            is_plausible = self._last_s < held.media_s <= self._last_s + LONGEST_LAST_STEP_S
            yield self._at(held.frame, held.media_s) if is_plausible else self._between(held.frame, self._last_s, None)

    def _settle(self, held: _Stamped[T], last_s: float, next_clock_s: float | None) -> tuple[T, float]:
        """Decide on the time of a frame whose timestamp leaps, now that the next one is known."""
        next_s = None if next_clock_s is None else next_clock_s + self._offset_s
        is_confirmed = next_s is not None and next_s > held.media_s
        if is_confirmed and last_s < held.media_s <= last_s + LONGEST_GAP_S:
            return self._at(held.frame, held.media_s)
        if is_confirmed and next_s is not None and (next_s <= last_s or held.media_s > last_s):
            self.restarts += 1
            self._offset_s += last_s + self._step_s - held.media_s
            return self._at(held.frame, last_s + self._step_s)
        return self._between(held.frame, last_s, next_s)

    def _between(self, frame: T, last_s: float, next_s: float | None) -> tuple[T, float]:
        self.corrected += 1
        is_ahead = next_s is not None and next_s > last_s
        return self._at(frame, (last_s + next_s) / 2 if is_ahead and next_s is not None else last_s + self._step_s)

    def _at(self, frame: T, media_s: float) -> tuple[T, float]:
        if self._last_s is not None:
            # Far from zero, a small step may be lost in rounding.
            media_s = max(media_s, math.nextafter(self._last_s, math.inf))
            self._last_step_s = media_s - self._last_s
        self._last_s = media_s
        return frame, media_s
