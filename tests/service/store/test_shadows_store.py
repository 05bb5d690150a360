"""Both stores keep starts of shadow versions apart from events, and delete them with their session and version."""

from datetime import UTC, datetime

import pytest

from service.errors import NotFoundError
from service.store.model_records import UploadedModel
from service.store.protocols import Store
from service.store.shadow_records import FollowedSpan, FoundBy, ShadowStart
from tests.support.store_kit import MODEL, queue

AT = datetime(2026, 1, 1, tzinfo=UTC)
SPAN = FollowedSpan(from_s=2.0, to_s=9.0)
KEY = "gate@v2"


def start(start_s: float, found_by: FoundBy = "shadow") -> ShadowStart:
    return ShadowStart(found_by=found_by, label="kick", start_s=start_s, score=0.9, time=AT)


async def test_starts_are_kept_once_and_a_span_grows(store: Store) -> None:
    session = await queue(store)
    found = [start(5), start(3), start(3, "serving")]
    for span in (SPAN, SPAN.model_copy(update={"to_s": 12.0})):
        assert await store.shadows.add(KEY, session.id, span, found, max_kept=10)
    [kept] = await store.shadows.of_version(KEY)
    assert (kept.session_id, [span.to_s for span in kept.spans]) == (session.id, [12.0])
    assert kept.starts == [start(3, "serving"), start(3), start(5)]
    assert await store.log.read_events(session.id, after="0-0") == []


async def test_a_session_keeps_only_so_much_of_one_version(store: Store) -> None:
    session = await queue(store)
    assert await store.shadows.add(KEY, session.id, SPAN, [start(3)], max_kept=2)
    assert not await store.shadows.add(KEY, session.id, SPAN, [start(4)], max_kept=2)
    [kept] = await store.shadows.of_version(KEY)
    assert kept.starts == [start(3)]
    assert await store.shadows.add("gate@v3", session.id, SPAN, [start(4)], max_kept=2)
    assert await store.shadows.of_version(KEY) == []


async def test_results_of_a_shadow_are_deleted_with_its_session_and_its_version(store: Store) -> None:
    ended, other = await queue(store), await queue(store)
    for session in (ended, other):
        await store.shadows.add(KEY, session.id, SPAN, [start(3)], max_kept=5)
    await store.sessions.request_stop(ended.id)
    await store.sessions.delete(ended.id)
    assert [each.session_id for each in await store.shadows.of_version(KEY)] == [other.id]
    with pytest.raises(NotFoundError):
        await store.shadows.add(KEY, ended.id, SPAN, [start(3)], max_kept=5)
    await store.models.delete([KEY])
    assert await store.shadows.of_version(KEY) == []


async def test_a_worker_learns_which_models_are_shadows(store: Store) -> None:
    info = MODEL.model_copy(update={"name": "gate", "version": "v2", "origin": "uploaded"})
    shadow = UploadedModel(info=info, size_bytes=10, uploaded_at=AT, is_shadow=True)
    await store.models.put(shadow, max_kept=5)
    renewal = await store.workers.renew("w1")
    assert (renewal.models, renewal.shadows) == ({KEY}, {KEY})
    await store.models.put(shadow.model_copy(update={"is_shadow": False}), max_kept=5)
    renewal = await store.workers.renew("w1")
    assert (renewal.models, renewal.shadows) == ({KEY}, set())
