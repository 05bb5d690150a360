"""Sessions that have lost their worker go back to the queue, and say why."""

from datetime import UTC, datetime

from service.api.unowned import PATIENCE_S, UnownedSessions
from service.api.unserved import UnservedSessions
from service.store.protocols import Store
from service.store.records import SessionUpdate, state_event
from service.store.worker_records import WorkerInfo
from tests.support.store_kit import MODEL, queue, record

KITCHEN = MODEL.model_copy(update={"name": "kitchen"})
NO_ROOM = "No worker has room for the session. It continues when one has."


async def begun(store: Store, model: str) -> str:
    """The id of a session that the worker w1 runs."""
    queued = await queue(store, record(model=model))
    session = await store.workers.claim("w1")
    assert session is not None
    assert session.id == queued.id
    event = state_event(session, "running", time=datetime.now(UTC))
    await store.log.commit(session.id, session.token, events=[event], update=SessionUpdate(state="running"))
    return session.id


async def shown(store: Store, session_id: str) -> tuple[str, str | None]:
    """State and detail, which are also those of the newest event."""
    session = await store.sessions.get(session_id)
    last = (await store.log.read_events(session_id))[-1]
    assert last.type == "session.state"
    assert (last.state, last.detail) == (session.state, session.detail)
    return session.state, session.detail


async def test_a_session_without_a_worker_is_queued_and_says_why(store: Store) -> None:
    await store.workers.register(WorkerInfo("w1", 100.0, (MODEL, KITCHEN)))
    kitchen, mocap = await begun(store, "kitchen"), await begun(store, "mocap")
    unowned, unserved = UnownedSessions(store), UnservedSessions(store)
    await unowned.check(0.0)
    await store.workers.release("w1")
    await unowned.check(1.0)
    await unowned.check(PATIENCE_S)
    assert await shown(store, kitchen) == ("running", None), "another worker may take over"
    await unowned.check(1.0 + PATIENCE_S)
    for session in (kitchen, mocap):
        assert await shown(store, session) == ("queued", "No worker is running. The session continues when one does.")
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    await unserved.check(0.0)
    state, detail = await shown(store, kitchen)
    assert detail is not None
    assert (state, detail.partition(".")[0]) == ("queued", "No worker has the model 'kitchen'")
    assert await shown(store, mocap) == ("queued", NO_ROOM)
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL, KITCHEN)))
    await unserved.check(1.0)
    assert await shown(store, kitchen) == ("queued", NO_ROOM), "the model is there again"


async def test_a_session_that_another_worker_takes_over_in_time_stays_as_it_was(store: Store) -> None:
    session = await begun(store, "mocap")
    unowned = UnownedSessions(store)
    await store.workers.release("w1")
    await unowned.check(0.0)
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    assert await store.workers.claim("w2") is not None
    await unowned.check(PATIENCE_S)
    await store.workers.release("w2")
    await unowned.check(2 * PATIENCE_S)
    assert await shown(store, session) == ("running", None)
