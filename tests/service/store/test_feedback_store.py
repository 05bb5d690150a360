"""Both stores keep feedback of a session, up to a limit, and delete it with the session."""

import pytest

from service.errors import NotFoundError
from service.store.protocols import Store
from tests.support.store_kit import missed_action, queue


async def test_feedback_is_kept_in_media_time_and_replaced_by_id(store: Store) -> None:
    session = await queue(store)
    late, early = missed_action("missed-1", 9.0), missed_action("missed-2", 1.0)
    for each in (late, early, late):
        assert await store.feedback.put(session.id, each, max_kept=10)
    assert await store.feedback.of_session(session.id) == [early, late]


async def test_a_session_keeps_only_so_much_feedback(store: Store) -> None:
    session = await queue(store)
    for number in range(2):
        assert await store.feedback.put(session.id, missed_action(f"missed-{number}", number), max_kept=2)
    assert not await store.feedback.put(session.id, missed_action("missed-2", 2), max_kept=2)
    assert await store.feedback.put(session.id, missed_action("missed-1", 5), max_kept=2)
    await store.feedback.delete(session.id, "missed-0")
    assert [each.start_s for each in await store.feedback.of_session(session.id)] == [5]


async def test_feedback_of_a_deleted_session_is_deleted_and_cannot_return(store: Store) -> None:
    session = await queue(store)
    await store.feedback.put(session.id, missed_action("missed-1", 1), max_kept=2)
    await store.sessions.request_stop(session.id)
    await store.sessions.delete(session.id)
    assert await store.feedback.of_session(session.id) == []
    with pytest.raises(NotFoundError):
        await store.feedback.put(session.id, missed_action("missed-1", 1), max_kept=2)
