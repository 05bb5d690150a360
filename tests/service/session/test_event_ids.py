"""Event ids grow, for any media times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.event_schemas import event_key, next_event_id


@given(st.lists(st.floats(min_value=0, max_value=1e9, allow_nan=False), max_size=30))
def test_event_ids_grow_for_any_media_times(times_s: list[float]) -> None:
    last: str | None = None
    for decided_s in times_s:
        following = next_event_id(last, decided_s)
        assert last is None or event_key(following) > event_key(last)
        last = following
    if times_s == sorted(times_s) and times_s:
        assert last is not None
        assert event_key(last)[0] == round(times_s[-1] * 1000)


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-1-1", "a-0", "1-0\n", "١-0", " 1-0"])
def test_an_invalid_event_id_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="event id"):
        event_key(text)
