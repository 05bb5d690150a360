"""When a failed source is opened again, and when the session gives up."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.video.errors import VideoError
from service.decoder.messages import DecoderDiedError
from service.session.reconnect import (
    FIRST_BACKOFF_S,
    LONGEST_BACKOFF_S,
    backoff_s,
    file_delay_s,
    live_delay_s,
    push_delay_s,
    zero_of_resumed_s,
)
from service.sources.sources import SourceForbiddenError

LOST = VideoError("source_unreachable", "Lost.")
FAILURES = st.integers(1, 10**6)
CHANCE = st.floats(0, 1, exclude_max=True)


@given(failures=FAILURES, chance=CHANCE)
def test_the_back_off_is_a_random_part_of_a_bound_that_doubles_up_to_half_a_minute(
    failures: int, chance: float
) -> None:
    bound_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 1000))
    assert backoff_s(failures, chance) == pytest.approx(chance * bound_s)
    assert backoff_s(failures, 0.0) == 0.0
    assert backoff_s(failures, chance) <= backoff_s(failures + 1, chance) <= LONGEST_BACKOFF_S


@given(failures=FAILURES, chance=CHANCE, down_s=st.floats(0, 1e7))
def test_a_live_source_without_a_limit_is_retried_forever(failures: int, chance: float, down_s: float) -> None:
    for error in (LOST, VideoError("decode_failed", "Garbage."), DecoderDiedError("Died.")):
        delay_s = live_delay_s(error, failures, down_s=down_s, max_down_s=None, chance=chance)
        assert delay_s == backoff_s(failures, chance)


@given(failures=FAILURES, chance=CHANCE, down_s=st.floats(0, 1e4), max_down_s=st.floats(0.1, 1e4))
def test_a_limit_is_kept_and_the_last_attempt_is_not_later(
    failures: int, chance: float, down_s: float, max_down_s: float
) -> None:
    delay_s = live_delay_s(LOST, failures, down_s=down_s, max_down_s=max_down_s, chance=chance)
    if down_s >= max_down_s:
        assert delay_s is None
    else:
        assert delay_s is not None
        assert down_s + delay_s <= max_down_s + 1e-6


@pytest.mark.parametrize("error", [VideoError("source_unauthorized", "No."), SourceForbiddenError("No.")])
def test_a_refused_password_or_address_is_not_tried_again(error: VideoError | SourceForbiddenError) -> None:
    assert live_delay_s(error, 1, down_s=0, max_down_s=None, chance=0.5) is None


def test_a_file_is_tried_three_times_where_that_may_help() -> None:
    assert [file_delay_s(LOST, failures, has_worked=True) for failures in (1, 2, 3)] == [0.25, 1.0, None]
    assert file_delay_s(DecoderDiedError("Died."), 1, has_worked=False) == 0.25
    assert file_delay_s(LOST, 1, has_worked=False) is None
    assert file_delay_s(VideoError("decode_failed", "Bad."), 1, has_worked=True) is None


def test_media_time_of_a_resumed_session_is_the_time_since_it_began() -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    later = began + timedelta(seconds=90)
    assert zero_of_resumed_s(60.0, began, now_s=1000.0, now=later) == 910.0
    assert zero_of_resumed_s(60.0, began, now_s=1000.0, now=began - timedelta(days=1)) == 940.0


def test_a_pushed_stream_that_broke_off_is_waited_for_and_one_that_kills_decoders_is_given_up() -> None:
    assert push_delay_s(LOST, 10**6) == 0.0
    assert push_delay_s(VideoError("source_timeout", "Nothing came."), 1) is None
    assert push_delay_s(VideoError("source_unsupported", "Garbage."), 1) is None
    assert [push_delay_s(DecoderDiedError("Died."), failures) for failures in (1, 2, 3)] == [0.0, 0.0, None]
