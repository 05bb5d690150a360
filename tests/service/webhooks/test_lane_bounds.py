"""The bookkeeping of lanes: how many are open, and which are closed to make room."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service.store.webhook_records import Webhook
from service.webhooks.lanes import (
    MAX_HANGING,
    MAX_HANGING_PER_OWNER,
    MAX_LANES,
    MAX_LANES_PER_OWNER,
    MAX_LANES_PER_RECEIVER,
    Lanes,
)


def webhook(number: int, *, owner: str | None = None, receiver: str | None = None) -> Webhook:
    return Webhook(
        session_id=f"s{number}",
        url=SecretStr(f"http://{receiver or f'host{number}'}/hook"),
        secret=SecretStr("whsec_"),
        delivered=None,
        attempts=0,
        failing_since_unix_s=None,
        owner=owner,
    )


def test_a_lane_that_hangs_makes_room_until_its_receiver_answers() -> None:
    lanes = Lanes()
    for number in range(MAX_LANES):
        lanes.open(webhook(number))
    assert not lanes.has_room_for(webhook(MAX_LANES))
    assert lanes.hangs("s3") is None
    assert lanes.has_room_for(webhook(MAX_LANES))
    lanes.answered("s3")
    assert lanes.room == 0


def test_one_key_has_few_lanes_in_addition_to_those_that_hang() -> None:
    lanes = Lanes()
    for number in range(MAX_LANES_PER_OWNER):
        lanes.open(webhook(number, owner="key"))
    assert lanes.full_owners == ["key"]
    assert lanes.has_room_for(webhook(1000, owner="other"))
    lanes.hangs("s0")
    assert lanes.full_owners == []
    assert lanes.has_room_for(webhook(1000, owner="key"))


def test_of_too_many_lanes_of_one_key_that_hang_the_longest_gives_up() -> None:
    lanes = Lanes()
    lanes.open(webhook(-1))
    lanes.hangs("s-1")
    for number in range(MAX_HANGING_PER_OWNER):
        lanes.open(webhook(number, owner="key"))
        assert lanes.hangs(f"s{number}") is None
    lanes.open(webhook(1000, owner="key"))
    assert lanes.hangs("s1000") == "s0"


def test_a_receiver_keeps_its_few_lanes_although_they_hang() -> None:
    lanes = Lanes()
    for number in range(MAX_LANES_PER_RECEIVER):
        lanes.open(webhook(number, receiver="busy"))
        lanes.hangs(f"s{number}")
    assert lanes.full_receivers == ["busy"]
    assert not lanes.has_room_for(webhook(1000, receiver="busy"))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "hang", "answer", "close"]), st.integers(0, 2000), st.sampled_from([None, "key"])
    ),
    max_size=50,
)


@given(start=st.integers(0, MAX_LANES), hanging=st.integers(0, MAX_HANGING), steps=STEPS)
def test_open_lanes_stay_within_their_bounds(
    start: int, hanging: int, steps: list[tuple[str, int, str | None]]
) -> None:
    lanes = Lanes()
    waiting, open_ids = set[str](), set[str]()
    for number in range(start):
        lanes.open(webhook(number))
        open_ids.add(f"s{number}")
        if number < hanging:
            lanes.hangs(f"s{number}")
            waiting.add(f"s{number}")
    for action, number, owner in steps:
        session_id = f"s{number}"
        each = webhook(number, owner=owner)
        if action == "open" and session_id not in open_ids and lanes.has_room_for(each):
            lanes.open(each)
            open_ids.add(session_id)
        elif action == "hang" and session_id in open_ids - waiting:
            waiting.add(session_id)
            given_up = lanes.hangs(session_id)
            if given_up is not None:
                lanes.close(given_up)
                open_ids.remove(given_up)
                waiting.remove(given_up)
        elif action == "answer":
            lanes.answered(session_id)
            waiting.discard(session_id)
        elif action == "close" and session_id in open_ids:
            lanes.close(session_id)
            open_ids.remove(session_id)
            waiting.discard(session_id)
        assert set(lanes.sessions) == open_ids
        assert lanes.room == max(0, MAX_LANES - len(open_ids - waiting))
        assert len(waiting) <= MAX_HANGING
        assert len(open_ids) <= MAX_LANES + MAX_HANGING
