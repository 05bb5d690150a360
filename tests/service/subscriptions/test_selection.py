"""Which events a subscription delivers of those that pass its filter."""

from typing import Literal

from service.event_filter import EventFilter
from service.event_schemas import ActionEndEvent, Event
from service.store.subscription_records import LastAction
from service.subscriptions.selection import MAX_REMEMBERED, Selection
from tests.support.store_kit import start

EVERYTHING = EventFilter()


def action(
    kind: Literal["start", "end"], start_s: float, *, label: str = "kick", score: float = 0.9, session: str = "s1"
) -> Event:
    event = start(session, "0-0").model_copy(update={"start_s": start_s, "label": label, "score": score})
    if kind == "start":
        return event
    return ActionEndEvent(**event.model_dump(exclude={"type"}), end_s=start_s + 1)


def selection(
    wanted: EventFilter = EVERYTHING,
    *,
    cooldown_s: float = 0.0,
    has_states: bool = False,
    actions: dict[str, LastAction] | None = None,
) -> Selection:
    return Selection(wanted, cooldown_s=cooldown_s, has_states=has_states, actions=actions or {})


def admitted(chosen: Selection, *events: Event) -> list[bool]:
    return [chosen.admits(event) for event in events]


def test_an_action_that_is_held_back_takes_its_end_with_it() -> None:
    chosen = selection(cooldown_s=5)
    events = [action("start", 1), action("end", 1), action("start", 3), action("end", 3), action("start", 6)]
    assert admitted(chosen, *events) == [True, True, False, False, True]


def test_the_cooldown_is_that_of_one_label_and_session() -> None:
    chosen = selection(cooldown_s=5)
    events = [action("start", 1), action("start", 2, label="jump"), action("start", 3, session="s2")]
    assert admitted(chosen, *events) == [True, True, True]


def test_a_cooldown_applies_to_ends_without_starts() -> None:
    chosen = selection(EventFilter(types=frozenset({"action.end"})), cooldown_s=5)
    assert admitted(chosen, action("start", 1), action("end", 1), action("end", 3), action("end", 6)) == [
        False,
        True,
        False,
        True,
    ]


def test_the_stored_memory_leads_to_the_same_decisions_after_a_restart() -> None:
    before = selection(cooldown_s=5)
    before.admits(action("start", 1))
    after = selection(cooldown_s=5, actions=before.actions)
    assert admitted(after, action("end", 1), action("start", 5), action("start", 6)) == [True, False, True]


def test_a_target_with_states_gets_the_end_of_each_action_that_it_got() -> None:
    chosen = selection(EventFilter(types=frozenset({"action.start"}), min_score=0.5), has_states=True)
    events = [action("start", 1), action("end", 1, score=0.1), action("start", 2, score=0.1), action("end", 2)]
    assert admitted(chosen, *events) == [True, True, False, False]
    assert chosen.actions == {}


def test_the_memory_is_bounded_and_forgets_ended_actions_first() -> None:
    chosen = selection(cooldown_s=5)
    chosen.admits(action("start", 1, label="open"))
    for n in range(MAX_REMEMBERED + 10):
        chosen.admits(action("start", 1, label=str(n)))
        chosen.admits(action("end", 1, label=str(n)))
    assert len(chosen.actions) <= MAX_REMEMBERED
    assert chosen.admits(action("end", 1, label="open"))
