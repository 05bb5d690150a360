"""An event passes a filter exactly when it meets each of its conditions."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.event_filter import EVERYTHING, EventFilter
from service.event_schemas import ActionStartEvent, Event, Latency, SessionGapEvent

NAMES = st.sampled_from(["a", "b", "c"])
TIMES = st.integers(0, 3).map(lambda hour: datetime(2026, 11, 29, hour, tzinfo=UTC))
VALUES = st.frozensets(NAMES, max_size=2)
FIELDS = {
    "id": st.just("5-0"),
    "session_id": NAMES,
    "decided_s": st.just(0.005),
    "time": TIMES,
    "model": st.just("m"),
    "model_version": st.just("1"),
    "name": st.none() | NAMES,
    "metadata": st.dictionaries(NAMES, NAMES, max_size=2),
}
LATENCY = Latency(decode=0.0, queue=0.0, infer=0.0, total=0.0)
STARTS: st.SearchStrategy[ActionStartEvent] = st.builds(
    ActionStartEvent,
    **FIELDS,
    label=NAMES,
    score=st.sampled_from([0.0, 0.5, 1.0]),
    start_s=st.just(0.0),
    latency_s=st.just(LATENCY),
)
GAPS: st.SearchStrategy[SessionGapEvent] = st.builds(SessionGapEvent, **FIELDS, gap_s=st.just(1.0))
FILTERS = st.builds(
    EventFilter,
    labels=VALUES,
    types=st.frozensets(st.sampled_from(["action.start", "session.gap"]), max_size=2),
    sessions=VALUES,
    names=VALUES,
    metadata=st.dictionaries(NAMES, st.frozensets(NAMES, min_size=1, max_size=2), max_size=2),
    since=st.none() | TIMES,
    until=st.none() | TIMES,
    min_score=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
)


@given(STARTS | GAPS, FILTERS)
def test_an_event_passes_when_it_meets_each_condition(event: Event, wanted: EventFilter) -> None:
    alone = [
        EventFilter(labels=wanted.labels),
        EventFilter(types=wanted.types),
        EventFilter(sessions=wanted.sessions),
        EventFilter(names=wanted.names),
        *(EventFilter(metadata={key: values}) for key, values in wanted.metadata.items()),
        EventFilter(since=wanted.since),
        EventFilter(until=wanted.until),
        EventFilter(min_score=wanted.min_score),
    ]
    assert wanted.passes(event) == all(one.passes(event) for one in alone)


@given(STARTS | GAPS, NAMES, NAMES)
def test_an_event_passes_a_condition_if_any_of_its_values_matches(event: Event, first: str, second: str) -> None:
    both, one, other = (frozenset(values) for values in ({first, second}, {first}, {second}))
    for field in ("labels", "sessions", "names"):
        passed = [EventFilter(**{field: values}).passes(event) for values in (one, other)]  # type: ignore[arg-type]
        assert EventFilter(**{field: both}).passes(event) == any(passed)  # type: ignore[arg-type]


@given(STARTS, TIMES)
def test_periods_that_follow_each_other_share_no_event_and_miss_none(event: Event, moment: datetime) -> None:
    before, after = EventFilter(until=moment), EventFilter(since=moment)
    assert before.passes(event) != after.passes(event)
    assert EventFilter(since=event.time, until=event.time + timedelta(seconds=1)).passes(event)


@given(GAPS)
def test_an_event_without_a_label_or_score_passes_no_condition_on_it(event: Event) -> None:
    assert EVERYTHING.passes(event)
    assert not EventFilter(labels=frozenset({"a"})).passes(event)
    assert not EventFilter(min_score=0.0).passes(event)
