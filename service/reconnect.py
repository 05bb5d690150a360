"""When a source that failed is opened again, and what media time it then is. Pure: time and chance are arguments."""

from datetime import datetime

from model.container import VideoError
from service.decoder_process import DecoderDied
from service.outcome import SourceFailure
from service.sources import SourceForbidden

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 30.0
# A connection that lasted for so long was a good one: the next back-off begins small again.
STABLE_S = 10.0
FIRST_RETRY_S, MAX_FAILURES_WITHOUT_PROGRESS = 0.25, 3
PASSING_CODES = frozenset({"source_unreachable", "source_timeout"})


def backoff_s(failures: int, chance: float) -> float:
    """Exponential back-off with full jitter after so many failures in a row (from 1); `chance` is in [0, 1)."""
    # Beyond 2 ** 16 the bound is long reached, and the power of a camera that is away for days would overflow.
    return chance * min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 16))


def live_delay_s(
    error: SourceFailure, failures: int, *, down_s: float, max_down_s: float | None, chance: float
) -> float | None:
    """How long to wait before a live source that was open once is tried again; None to give up.

    A password that is refused is not tried again, as cameras lock accounts; nor is an address that is not permitted.
    `down_s`: since its last frame. The last try is when `max_down_s` are over.
    """
    if isinstance(error, SourceForbidden) or (isinstance(error, VideoError) and error.code == "source_unauthorized"):
        return None
    delay_s = backoff_s(failures, chance)
    if max_down_s is None:
        return delay_s
    return None if down_s >= max_down_s else min(delay_s, max_down_s - down_s)


def push_delay_s(error: SourceFailure, failures: int) -> float | None:
    """How long to wait before a session takes another pushed stream; None to give up.

    One that broke off may come again, for as long as the session waits for it. A decoder that died took its stream
    along.
    """
    if isinstance(error, DecoderDied):
        return 0.0 if failures < MAX_FAILURES_WITHOUT_PROGRESS else None
    return 0.0 if error.code == "source_unreachable" else None


def file_delay_s(error: SourceFailure, failures: int, *, has_worked: bool) -> float | None:
    """How long to wait before a file is read on, `failures` after the last new frame; None to give up.

    `has_worked`: it is behind an address from which some of it came. Else only a decoder that died is worth a try.
    """
    may_pass = isinstance(error, VideoError) and error.code in PASSING_CODES and has_worked
    if failures >= MAX_FAILURES_WITHOUT_PROGRESS or not (may_pass or isinstance(error, DecoderDied)):
        return None
    return FIRST_RETRY_S * 4.0 ** (failures - 1)


def zero_of_resumed_s(position_s: float, started_at: datetime, *, now_s: float, now: datetime) -> float:
    """The moment, on the clock of `now_s`, that is media time 0 of a live session which another worker began.

    Should the wall clock have been set back, the session goes on right after its last frame.
    """
    return now_s - max(position_s, (now - started_at).total_seconds())
