"""Keeping up with a live stream: media times as pictures come, and what to leave out when decoding falls behind."""

import math
import time
from collections import Counter

from model.live_clock import LiveClock, Moment

# Pictures that come later than this for so long: the decoder is too slow, and goes on at the next keyframe.
LATE_S = 2.0
LATE_FOR_S = 1.0
# While the decoder rests, what comes waits in the connection's buffer.
LONGEST_REST_S = 0.1
# So often it does not: only pictures that are waited for tell how the source's clock and ours drift apart.
ATTEND_EVERY_S = 1.0
# Most pictures come a little later than the quickest, by which media time goes: one wake for them in place of two.
USUALLY_LATE_S = 0.003
# Of the distance between two pictures: one that is expected so little before a moment may come behind it.
UNSURE = 0.05


class LiveTiming:
    """Used by `Video.frames` for one connection to a live source.

    `dropped` counts what was left out, by reason; who reads it may clear it. `due_s` is when the newest picture was to
    come, `late_s` how much later it came, and `is_new_timeline` whether its timestamp had nothing to do with those
    before.
    """

    def __init__(self, clock: LiveClock) -> None:
        self._clock = clock
        self._late_since_s: float | None = None
        self._has_skipped = False
        self._newest_s = self._step_s = self._rested_s = 0.0
        self._attended_s = -math.inf
        self.dropped: Counter[str] = Counter()
        self.due_s = self.late_s = 0.0
        self.is_new_timeline = False
        self.waits_for_keyframe = False

    def media_s(self, pts_s: float | None, now_s: float, *, comes_in_pieces: bool) -> float | None:
        """Media time of the picture that came at `now_s`, on the monotonic clock; None if it is to be left out.

        Pictures of a stream that comes in pieces, many at once, are held back until their time.
        """
        if comes_in_pieces and (early_s := self._clock.early_s(pts_s, now_s)) > 0:
            time.sleep(early_s)
            # Not the clock again: what the sleep took too long would add up to a growing delay.
            now_s += early_s
        moment = self._clock.moment(pts_s, now_s, self._rested_s)
        self._rested_s = 0.0
        if moment is None:
            self.dropped["timestamp"] += 1
            return None
        self.due_s, self.late_s = now_s - moment.late_s, moment.late_s
        self.is_new_timeline = moment.is_new_timeline
        # One that is not late at all was timed by its arrival: of distances that says nothing.
        self._step_s = moment.media_s - self._newest_s if moment.late_s > 0 else 0.0
        self._newest_s = moment.media_s
        self._keep_up(moment, now_s)
        return moment.media_s

    def rest_s(self, wanted_s: float, now_s: float, decode_s: float) -> float:
        """How long the caller is to read nothing, so that pictures before `wanted_s` are decoded in one go.

        A process that wakes for each picture takes a third more. The first picture that is no earlier than `wanted_s`,
        in media time, is not kept waiting: it is expected where the distance between the last two puts it, and those
        before it are decoded by then; `decode_s` is what all of them took the last time. For sources that lose nothing
        meanwhile; 0 when there is nothing to gain.
        """
        if self._step_s <= 0 or now_s - self._attended_s > ATTEND_EVERY_S:
            self._attended_s = now_s
            return 0.0
        steps = math.ceil((wanted_s - self._newest_s) / self._step_s - UNSURE)
        if steps < 2:
            return 0.0
        rest_s = self._clock.wait_s(self._newest_s + steps * self._step_s, now_s) + USUALLY_LATE_S
        rest_s -= decode_s * (steps - 1) / steps
        self._rested_s = min(LONGEST_REST_S, max(0.0, rest_s))
        return self._rested_s

    def _keep_up(self, moment: Moment, now_s: float) -> None:
        if moment.late_s < LATE_S:
            self._late_since_s, self._has_skipped = None, False
        elif self._late_since_s is None:
            self._late_since_s = now_s
        elif now_s - self._late_since_s > LATE_FOR_S:
            self._late_since_s = None
            if self._has_skipped:
                # It was not the decoder: the source itself is later than it was.
                self._clock.restart()
            self.waits_for_keyframe = self._has_skipped = not self._has_skipped
