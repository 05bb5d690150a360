"""A session moves to another version of its model while it runs, between two frames."""

from datetime import UTC, datetime
from pathlib import Path

from model.detector import Detector
from service.event_schemas import SessionChangedEvent
from service.session.engine import FIRST_BATCHES
from service.store.model_records import model_key
from service.store.records import SettingsChange
from service.store.worker_records import WorkerInfo
from tests.support.disturbed_place import Place
from tests.support.model_kit import network_of, store_model, version_of
from tests.support.session_kit import Reported, a_worker, actions, model_info, submit
from tests.support.tiny_model import kept_graphs

AT_STEP = 20


async def begin(place: Place, model: Path, video: Path) -> tuple[Detector, str]:
    """Another version in the store, and a queued session that is to move to it."""
    files = version_of(model, refractory_s=0.3)
    uploaded = await store_model(place.store, place.blobs.models, files, "tiny", uploaded_at=datetime.now(UTC))
    detector = Detector(network_of(files), uploaded.info.version, "tiny", graphs=kept_graphs(model))
    detector.prepare(FIRST_BATCHES)
    await place.store.workers.register(a_worker(place.detector))
    return detector, (await submit(place.store, place.settings, upload=video)).id


async def test_a_session_moves_between_two_frames_and_says_so(
    place: Place, model: Path, video: Path, expected: list[Reported]
) -> None:
    detector, session_id = await begin(place, model, video)
    key = model_key("tiny", detector.version)
    place.engine.add(key, "tiny", detector)
    session = await place.claim()
    change = SettingsChange(model_version=detector.version, is_version_pinned=True)
    wanted = await place.store.sessions.change(session_id, change)
    place.detector.before_step = {AT_STEP: lambda: session.change(wanted)}
    await session.run()
    record, events = await place.reported(session_id)
    (changed,) = [event for event in events if isinstance(event, SessionChangedEvent)]
    index = events.index(changed)
    assert {event.model_version for event in events[1:index]} == {place.detector.version}
    assert {event.model_version for event in events[index:]} == {detector.version}
    assert (record.model_key, record.applied_revision) == (key, 1)
    before = [reported for reported in actions(events[:index]) if reported[0] == "action.start"]
    assert before == [each for each in expected if each[0] == "action.start" and each[3] <= changed.decided_s]
    # What was in progress ended with the old version, and what came later came from the new one alone.
    assert len(before) == len([event for event in events[:index] if event.type == "action.end"])
    assert all(start_s >= changed.decided_s for _, _, start_s, _ in actions(events[index:]))
    assert actions(events[index:])
    assert detector.version != place.detector.version


async def test_a_session_continues_until_its_worker_has_loaded_the_version(
    place: Place, model: Path, video: Path
) -> None:
    detector, session_id = await begin(place, model, video)
    session = await place.claim()
    change = SettingsChange(model_version=detector.version, is_version_pinned=True)
    session.change(await place.store.sessions.change(session_id, change))
    key = model_key("tiny", detector.version)
    place.detector.before_step = {AT_STEP: lambda: place.engine.add(key, "tiny", detector)}
    await session.run()
    record, events = await place.reported(session_id)
    (changed,) = [event for event in events if isinstance(event, SessionChangedEvent)]
    assert changed.decided_s > 1.5
    assert record.state == "completed"


async def test_a_session_that_moved_without_a_worker_does_not_take_the_state_of_the_old_version(
    place: Place, model: Path, video: Path
) -> None:
    detector, session_id = await begin(place, model, video)
    first = await place.claim()
    place.detector.before_step = {AT_STEP: first.hand_over}
    await first.run()
    await place.store.workers.release("w1")
    change = SettingsChange(model_version=detector.version, is_version_pinned=True)
    await place.store.sessions.change(session_id, change)
    key = model_key("tiny", detector.version)
    place.engine.add(key, "tiny", detector)
    offered = WorkerInfo("w1", 200.0, (model_info(detector).model_copy(update={"name": key}),))
    await (await place.claim(offered=offered)).run()
    record, events = await place.reported(session_id)
    kinds = [event.type for event in events if event.type in ("session.gap", "session.changed")]
    assert kinds == ["session.gap", "session.changed"]
    assert {event.model_version for event in events[-1:]} == {detector.version}
    assert record.state == "completed"


async def test_a_label_that_only_the_old_version_has_keeps_its_column_with_zeros(
    place: Place, model: Path, video: Path
) -> None:
    files = version_of(model)
    config = files["model.json"].replace(b'"punch"', b'"jump"')
    files["model.json"] = config
    uploaded = await store_model(place.store, place.blobs.models, files, "tiny", uploaded_at=datetime.now(UTC))
    detector = Detector(network_of(files), uploaded.info.version, "tiny", graphs=kept_graphs(model))
    detector.prepare(FIRST_BATCHES)
    place.engine.add(uploaded.key, "tiny", detector)
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    session = await place.claim()
    change = SettingsChange(model_version=detector.version, is_version_pinned=True, labels=("kick", "jump"))
    wanted = await place.store.sessions.change(queued.id, change)
    place.detector.before_step = {AT_STEP: lambda: session.change(wanted)}
    await session.run()
    record, events = await place.reported(queued.id)
    assert record.score_labels == ("kick", "punch", "jump")
    rows = await place.store.log.read_scores(record.id)
    (changed,) = [event for event in events if isinstance(event, SessionChangedEvent)]
    after = [row.scores for row in rows if row.pts_s > changed.decided_s]
    assert {scores[1] for scores in after} == {0.0}
    assert {len(scores) for scores in after} == {3}
    assert {event.label for event in events[events.index(changed) :] if event.type == "action.start"} <= {
        "kick",
        "jump",
    }


async def test_the_engine_drops_a_model_only_when_no_stream_uses_it(place: Place) -> None:
    stream = await place.engine.open_stream("tiny", live=False)
    assert not place.engine.remove("tiny")
    place.engine.close_stream(stream)
    assert place.engine.remove("tiny")
    assert not place.engine.has("tiny")
