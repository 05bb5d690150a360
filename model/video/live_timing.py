"""Keep up with a live stream: media times as frames arrive, and what to skip when decoding falls behind."""

import math
import time
from collections import Counter

from model.video.live_clock import LiveClock, Moment

# If frames are later than LATE_S for LATE_FOR_S, the decoder is too slow, and continues at the next keyframe.
LATE_S = 2.0
LATE_FOR_S = 1.0
# While the decoder idles, arriving data waits in the buffer of the connection. It is little while nothing moves.
LONGEST_REST_S, LONGEST_STILL_REST_S = 0.1, 0.35
# At this interval it does not idle, since only frames that it waits for show how the clocks of source and decoder drift
# apart.
ATTEND_EVERY_S = 1.0
# Most frames arrive a little later than the fastest one, which defines media time; waiting for them saves a wake-up.
USUALLY_LATE_S = 0.003
# As a share of the distance between two frames: a frame expected this little before a moment may arrive after it.
UNSURE = 0.05


class LiveTiming:
    """The timing of one connection to a live source, used by `LiveReader`.

    `dropped` counts frames that were left out, by reason; its reader may clear it. `due_s` is when the newest frame was
    expected, `late_s` how much later it arrived, and `is_new_timeline` whether its timestamp did not continue the
    previous ones.
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

    def media_s(
        self, pts_s: float | None, now_s: float, *, comes_in_pieces: bool, was_awaited: bool = False
    ) -> float | None:
        """Return the media time of a frame that arrived at `now_s` on the monotonic clock; None to leave it out.

        Frames of a stream that arrives in pieces of many frames are held back until their time.
        """
        if comes_in_pieces and (early_s := self._clock.early_s(pts_s, now_s)) > 0:
            time.sleep(early_s)
            # Do not read the clock again, or oversleeping would add up to a growing delay.
            now_s += early_s
        moment = self._clock.moment(
            pts_s, now_s, self._rested_s, was_awaited=was_awaited and not comes_in_pieces and not self._rested_s
        )
        self._rested_s = 0.0
        if moment is None:
            self.dropped["timestamp"] += 1
            return None
        self.due_s, self.late_s = now_s - moment.late_s, moment.late_s
        self.is_new_timeline = moment.is_new_timeline
        # A frame that is not late at all was timed by its arrival, which says nothing about distances.
        self._step_s = moment.media_s - self._newest_s if moment.late_s > 0 else 0.0
        self._newest_s = moment.media_s
        self._keep_up(moment, now_s)
        return moment.media_s

    def rest_s(self, wanted_s: float, now_s: float, decode_s: float, *, is_still: bool = False) -> float:
        """Return how long to read nothing, so that the frames before `wanted_s` are decoded together.

        A process that wakes up for each frame takes a third more processor time. The first frame at or after
        `wanted_s`, in media time, does not wait: it is expected at the distance of the last two frames, and the earlier
        ones are decoded by then. `decode_s` is the time that decoding all of them took last time. Only for sources that
        lose nothing while they are not read. Returns 0 if there is nothing to gain.

        Args:
            is_still: whether nothing has moved for a while.
        """
        if self._step_s <= 0 or now_s - self._attended_s > ATTEND_EVERY_S:
            self._attended_s = now_s
            return 0.0
        steps = math.ceil((wanted_s - self._newest_s) / self._step_s - UNSURE)
        if steps < 2:
            return 0.0
        rest_s = self._clock.wait_s(self._newest_s + steps * self._step_s, now_s) + USUALLY_LATE_S
        rest_s -= decode_s * (steps - 1) / steps
        self._rested_s = min(LONGEST_STILL_REST_S if is_still else LONGEST_REST_S, max(0.0, rest_s))
        return self._rested_s

    def _keep_up(self, moment: Moment, now_s: float) -> None:
        if moment.late_s < LATE_S:
            self._late_since_s, self._has_skipped = None, False
        elif self._late_since_s is None:
            self._late_since_s = now_s
        elif now_s - self._late_since_s > LATE_FOR_S:
            self._late_since_s = None
            if self._has_skipped:
                # The decoder was not the cause; the source itself is later than before.
                self._clock.restart()
            self.waits_for_keyframe = self._has_skipped = not self._has_skipped
