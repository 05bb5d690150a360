"""Sessions and streams that were started with a key also end when it expires."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.access.keys import ApiKey, new_key
from service.access.scopes import Scope
from service.api.expired_keys import ExpiredKeys
from service.errors import StoreUnavailableError
from service.observability.audit import AuditLog
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.webhook_records import StoredWebhook
from tests.support.access_kit import LIMITS
from tests.support.store_kit import queue, record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def made(store: Store, name: str, expires_at: datetime | None) -> ApiKey:
    key = new_key(name, [Scope.ADMIN], LIMITS, created_at=NOW, expires_at=expires_at)[1]
    await store.keys.create(key)
    return key


async def test_the_sessions_and_webhooks_of_an_expired_key_end(store: Store, tmp_path: Path) -> None:
    expired = await made(store, "expired", NOW + timedelta(days=1))
    valid = await made(store, "valid", NOW + timedelta(days=3))
    unlimited = await made(store, "unlimited", None)
    webhook = StoredWebhook(url=SecretStr("https://example.org/"), secret=SecretStr("s"))
    mine, *others = [
        await queue(store, record().model_copy(update={"owner": key.id, "webhook": webhook}))
        for key in (expired, valid, unlimited)
    ]
    audit = AuditLog(tmp_path / "audit.jsonl")
    watch = ExpiredKeys(store, audit, clock=lambda: NOW + timedelta(days=2))
    for _ in range(2):
        await watch.check()
    audit.close()
    assert [(key.name, key.revoked_at is not None) for key in await store.keys.all()] == [
        ("expired", True),
        ("valid", False),
        ("unlimited", False),
    ]
    assert (await store.sessions.get(mine.id)).state == "stopped"
    assert [(await store.sessions.get(other.id)).state for other in others] == ["queued", "queued"]
    due = await store.outbox.due(now_unix_s=1e12, limit=9)
    assert sorted(webhook.session_id for webhook in due) == sorted(other.id for other in others)
    [entry] = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert (entry["action"], entry["changed_key"], entry["reason"]) == ("key.revoke", expired.id, "expired")


async def test_sessions_of_an_expired_key_that_outlived_an_outage_end_at_the_next_check(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired = await made(store, "expired", NOW + timedelta(days=1))
    session = await queue(store, record().model_copy(update={"owner": expired.id}))
    audit = AuditLog(tmp_path / "audit.jsonl")
    watch = ExpiredKeys(store, audit, clock=lambda: NOW + timedelta(days=2))

    async def unavailable(session_id: str) -> SessionRecord:
        raise StoreUnavailableError("The store is not available. Retry.")

    with monkeypatch.context() as outage:
        outage.setattr(store.sessions, "request_stop", unavailable)
        await watch.check()
    assert (await store.sessions.get(session.id)).state == "queued"
    await watch.check()
    audit.close()
    assert (await store.sessions.get(session.id)).state == "stopped"
    [key] = await store.keys.all()
    assert key.revoked_at is not None
