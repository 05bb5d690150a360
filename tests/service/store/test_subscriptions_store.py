"""Both stores keep subscriptions, how far their delivery has come, and who delivers."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from service.errors import NotFoundError, SubscriptionLimitError
from service.store.delivery_protocols import SubscriptionLimits
from service.store.protocols import Store
from service.store.subscription_records import (
    DeliveryProgress,
    LastAction,
    ProgressChange,
    StoredFilter,
    StoredWebhookTarget,
    SubscriptionRecord,
    SubscriptionState,
)
from tests.support.store_kit import Clock, open_redis

LIMITS = SubscriptionLimits(max_of_key=3, max_in_all=5)
URL, SECRET = "https://user:hunter2@example.org/?token=hunter2", "whsec_hunter2"


def subscription(subscription_id: str, key_id: str | None = "k1") -> SubscriptionRecord:
    return SubscriptionRecord(
        id=subscription_id,
        name="gate",
        key_id=key_id,
        owner=key_id,
        created_at=datetime.now(UTC),
        filter=StoredFilter(label=("kick",), metadata={"site": ("north", "south")}, min_score=0.5),
        cooldown_s=30,
        target=StoredWebhookTarget(url=SecretStr(URL), secret=SecretStr(SECRET)),
    )


async def created(store: Store, *ids: str) -> list[SubscriptionRecord]:
    records = [subscription(each) for each in ids]
    for record in records:
        await store.subscriptions.create(record, cursor="7", limits=LIMITS)
    return records


async def saved(
    store: Store, subscription_id: str, revision: int, progress: DeliveryProgress, state: SubscriptionState = "active"
) -> bool:
    change = ProgressChange(subscription_id, revision, progress, state)
    return await store.subscriptions.save_progress([change]) == set()


async def test_a_subscription_is_read_as_it_was_created(store: Store) -> None:
    [record] = await created(store, "s1")
    found = await store.subscriptions.get("s1")
    assert (found.record, found.state, found.progress) == (record, "active", DeliveryProgress(cursor="7"))
    assert found.record.target.url.get_secret_value() == URL
    assert "hunter2" not in repr(found)


async def test_a_key_sees_its_own_subscriptions(store: Store) -> None:
    await created(store, "s1", "s2")
    await store.subscriptions.create(subscription("s3", "k2"), cursor="0", limits=LIMITS)
    assert [each.record.id for each in await store.subscriptions.all()] == ["s1", "s2", "s3"]
    assert [each.record.id for each in await store.subscriptions.all(key_id="k2")] == ["s3"]
    with pytest.raises(NotFoundError):
        await store.subscriptions.get("s1", key_id="k2")
    assert (await store.subscriptions.get("s3", key_id="k2")).record.key_id == "k2"


async def test_a_replacement_changes_the_revision_but_not_the_progress(store: Store) -> None:
    [record] = await created(store, "s1")
    progress = DeliveryProgress(cursor="9", delivered=2)
    await store.subscriptions.drive()
    assert await saved(store, "s1", 0, progress)
    target = record.target
    assert isinstance(target, StoredWebhookTarget)
    now = datetime.now(UTC)
    rotated = target.with_secret(SecretStr("whsec_new"), old_until=now)
    assert await store.subscriptions.replace(record.model_copy(update={"target": rotated}), revision=0)
    assert not await store.subscriptions.replace(record, revision=0)
    found = await store.subscriptions.get("s1")
    assert (found.record.target, found.state, found.revision, found.progress) == (rotated, "active", 1, progress)
    assert (await store.subscriptions.drive())["s1"] == 1
    assert not await store.subscriptions.replace(subscription("gone"), revision=0)


async def test_a_repeated_rotation_keeps_the_secret_before_it_until_its_time_is_over() -> None:
    target = StoredWebhookTarget(url=SecretStr(URL), secret=SecretStr(SECRET))
    now = datetime.now(UTC)
    new, until = SecretStr("whsec_new"), now + timedelta(hours=1)
    rotated = target.with_secret(new, old_until=now).with_secret(new, old_until=until)
    assert rotated.secrets(now) == ["whsec_new", SECRET]
    assert rotated.secrets(until) == ["whsec_new"]


async def test_the_limits_of_a_key_and_of_all_hold(store: Store) -> None:
    await created(store, "s1", "s2", "s3")
    with pytest.raises(SubscriptionLimitError):
        await created(store, "s4")
    for subscription_id, key_id in (("s4", None), ("s5", "k2")):
        await store.subscriptions.create(subscription(subscription_id, key_id), cursor="0", limits=LIMITS)
    with pytest.raises(SubscriptionLimitError):
        await store.subscriptions.create(subscription("s6", "k3"), cursor="0", limits=LIMITS)
    await store.subscriptions.delete("s1")
    await created(store, "s6")


async def test_progress_is_noted_until_the_subscription_changes(store: Store) -> None:
    await created(store, "s1")
    assert await store.subscriptions.drive() == {"s1": 0}
    progress = DeliveryProgress(cursor="9", delivered=2, actions={"a": LastAction(start_s=1.5, is_open=True)})
    assert await saved(store, "s1", 0, progress)
    assert (await store.subscriptions.get("s1")).progress == progress
    await store.subscriptions.change("s1", "paused")
    assert not await saved(store, "s1", 0, DeliveryProgress(cursor="99"))
    assert await store.subscriptions.drive() == {}
    paused = await store.subscriptions.get("s1")
    assert (paused.state, paused.progress) == ("paused", progress)
    await store.subscriptions.change("s1", "active", progress=DeliveryProgress(cursor="10"))
    [(_, revision)] = (await store.subscriptions.drive()).items()
    assert await saved(store, "s1", revision, DeliveryProgress(cursor="11"), "disabled")
    assert (await store.subscriptions.get("s1")).state == "disabled"
    assert not await saved(store, "unknown", 0, progress)


async def test_the_subscriptions_of_one_key_are_disabled_together(store: Store) -> None:
    await created(store, "s1", "s2")
    await store.subscriptions.create(subscription("s3", "k2"), cursor="0", limits=LIMITS)
    await store.subscriptions.disable_all_of("k1")
    assert list(await store.subscriptions.drive()) == ["s3"]


async def test_a_deleted_subscription_is_unknown(store: Store) -> None:
    await created(store, "s1")
    await store.subscriptions.delete("s1")
    await store.subscriptions.delete("s1")
    with pytest.raises(NotFoundError):
        await store.subscriptions.get("s1")
    assert await store.subscriptions.all() == []


async def test_one_server_delivers_until_it_hands_over(redis_url: str, clock: Clock) -> None:
    first, second = open_redis(redis_url, clock), open_redis(redis_url, clock)
    await created(first, "s1")
    await first.outbox.due(now_unix_s=0.0, limit=1)
    assert list(await first.subscriptions.drive()) == ["s1"]
    assert await second.subscriptions.drive() == {}
    assert not await saved(second, "s1", 0, DeliveryProgress(cursor="9"))
    await first.close()
    assert list(await second.subscriptions.drive()) == ["s1"]
    assert await saved(second, "s1", 0, DeliveryProgress(cursor="9"))
    await second.close()


async def test_progress_of_several_subscriptions_is_noted_together(store: Store) -> None:
    await created(store, "s1", "s2", "s3")
    await store.subscriptions.drive()
    await store.subscriptions.delete("s2")
    changes = [ProgressChange(each, 0, DeliveryProgress(cursor="9")) for each in ("s1", "s2", "s3")]
    assert await store.subscriptions.save_progress(changes) == {"s2"}
    assert [each.progress.cursor for each in await store.subscriptions.all()] == ["9", "9"]
