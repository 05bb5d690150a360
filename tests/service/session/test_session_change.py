"""Rules, labels, name and metadata of a session change while it runs, between two frames."""

from pathlib import Path

from model.config import rules_hash
from service.event_schemas import Event, SessionChangedEvent
from service.schemas import Rule
from service.store.records import SessionRecord, SettingsChange
from tests.support.disturbed_place import Place
from tests.support.session_kit import Reported, a_worker, actions, submit

NEVER = {label: Rule(enter=1.0, leave=1.0) for label in ("kick", "punch")}


async def changed_in_mid_video(
    place: Place, video: Path, change: SettingsChange, *, at_step: int = 20
) -> tuple[SessionRecord, list[Event]]:
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    session = await place.claim()
    wanted = await place.store.sessions.change(queued.id, change)
    place.detector.before_step = {at_step: lambda: session.change(wanted)}
    await session.run()
    return await place.reported(queued.id)


async def test_changed_rules_decide_from_the_next_frame_on_and_are_an_event(
    place: Place, video: Path, expected: list[Reported]
) -> None:
    record, events = await changed_in_mid_video(place, video, SettingsChange(rules=NEVER))
    (changed,) = [event for event in events if isinstance(event, SessionChangedEvent)]
    at_s = changed.decided_s
    assert 1.9 <= at_s <= 2.0
    assert changed.start_rules == record.start_rules == NEVER
    assert [reported for reported in actions(events) if reported[3] <= at_s] == [
        reported for reported in expected if reported[3] <= at_s
    ]
    later = [event for event in events if event.type == "action.start" and event.decided_s > at_s]
    assert later == []
    hashes = [event.rules_hash for event in events if event.type != "session.state"]
    index = events.index(changed)
    assert hashes[0] == rules_hash(place.detector.config.start_rules)
    assert {event.rules_hash for event in events[index:]} == {record.rules_hash}
    assert record.rules_hash == rules_hash({label: rule.as_start_rule() for label, rule in NEVER.items()})
    assert (record.revision, record.applied_revision) == (1, 1)


async def test_a_label_that_is_dropped_ends_its_action_and_keeps_its_scores(place: Place, video: Path) -> None:
    change = SettingsChange(labels=("punch",), name="gate", metadata={"site": "north"})
    record, events = await changed_in_mid_video(place, video, change)
    (changed,) = [event for event in events if isinstance(event, SessionChangedEvent)]
    after = events[events.index(changed) :]
    assert {event.label for event in after if event.type == "action.start"} <= {"punch"}
    assert {(event.name, tuple(event.metadata)) for event in after} == {("gate", ("site",))}
    starts = [event for event in events if event.type == "action.start"]
    assert len([event for event in events if event.type == "action.end"]) == len(starts)
    rows = await place.store.log.read_scores(record.id)
    assert {len(row.scores) for row in rows} == {2}


async def test_a_change_before_the_start_is_published_with_the_first_frame(place: Place, video: Path) -> None:
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    await place.store.sessions.change(queued.id, SettingsChange(rules=NEVER))
    await (await place.claim()).run()
    _, events = await place.reported(queued.id)
    assert [event.type for event in events if event.type != "session.state"] == ["session.changed"]


async def test_a_change_of_a_session_that_moved_to_another_worker_is_published_there(
    place: Place, video: Path, expected: list[Reported]
) -> None:
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    first = await place.claim()
    place.detector.before_step = {20: first.hand_over}
    await first.run()
    await place.store.workers.release("w1")
    handed_over_s = (await place.store.sessions.get(queued.id)).position_s
    await place.store.sessions.change(queued.id, SettingsChange(rules=NEVER))
    await (await place.claim()).run()
    _, events = await place.reported(queued.id)
    (changed,) = [event for event in events if isinstance(event, SessionChangedEvent)]
    assert changed.decided_s == round(handed_over_s, 3)
    starts = [reported for reported in actions(events) if reported[0] == "action.start"]
    assert starts == [
        reported for reported in expected if reported[0] == "action.start" and reported[3] <= handed_over_s
    ]
