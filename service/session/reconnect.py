"""Decides when a failed source is opened again, and at which media time. Pure: time and chance are arguments."""

from datetime import datetime

from model.video.errors import VideoError
from service.decoder.messages import DecoderDiedError
from service.session.outcome import SourceFailure
from service.sources.sources import SourceForbiddenError

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 30.0
# A connection that lasted this long was good: the next backoff starts small again.
STABLE_S = 10.0
FIRST_RETRY_S, MAX_FAILURES_WITHOUT_PROGRESS = 0.25, 3
TRANSIENT_CODES = frozenset({"source_unreachable", "source_timeout"})


def consecutive_failures(before: int, *, lasted_s: float, has_advanced: bool, is_live: bool) -> int:
    """Failures in a row, this one included: 1 after a connection that was good.

    A connection of a file is good when it brought a new frame (`has_advanced`), that of a live source when it also
    lasted.
    """
    was_good = has_advanced and (lasted_s >= STABLE_S or not is_live)
    return 1 if was_good else before + 1


def backoff_s(failures: int, chance: float) -> float:
    """Exponential backoff with full jitter after this many failures in a row (from 1); `chance` is in [0, 1)."""
    # The bound is reached long before 2 ** 16; the power would overflow for a camera that is unavailable for days.
    return chance * min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 16))


def live_delay_s(
    error: SourceFailure, failures: int, *, down_s: float, max_down_s: float | None, chance: float
) -> float | None:
    """How long to wait before reconnecting to a live source that has worked before; None to give up.

    A rejected password is not tried again, because cameras lock accounts; nor is a forbidden address. `down_s` is the
    time since the last frame. The last attempt is made when `max_down_s` have passed.
    """
    is_rejected = isinstance(error, VideoError) and error.code == "source_unauthorized"
    if is_rejected or isinstance(error, SourceForbiddenError):
        return None
    delay_s = backoff_s(failures, chance)
    if max_down_s is None:
        return delay_s
    return None if down_s >= max_down_s else min(delay_s, max_down_s - down_s)


def push_delay_s(error: SourceFailure, failures: int) -> float | None:
    """How long to wait before a session accepts another pushed stream; None to give up.

    After an interrupted stream the client may push again while the session waits. A decoder that died lost its stream.
    """
    if isinstance(error, DecoderDiedError):
        return 0.0 if failures < MAX_FAILURES_WITHOUT_PROGRESS else None
    return 0.0 if error.code == "source_unreachable" else None


def file_delay_s(error: SourceFailure, failures: int, *, has_worked: bool) -> float | None:
    """How long to wait before a file is opened again, `failures` after the last new frame; None to give up.

    `has_worked`: it is behind a URL and some frames arrived. Otherwise, only the death of a decoder is worth a retry.
    """
    is_transient = isinstance(error, VideoError) and error.code in TRANSIENT_CODES and has_worked
    if failures >= MAX_FAILURES_WITHOUT_PROGRESS or not (is_transient or isinstance(error, DecoderDiedError)):
        return None
    return FIRST_RETRY_S * 4.0 ** (failures - 1)


def zero_of_resumed_s(position_s: float, started_at: datetime, *, now_s: float, now: datetime) -> float:
    """The time, on the clock of `now_s`, that is media time 0 of a live session that another worker started.

    If the wall clock was set back, the session continues right after its last frame.
    """
    return now_s - max(position_s, (now - started_at).total_seconds())
