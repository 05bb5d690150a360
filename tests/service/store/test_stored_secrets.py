"""Stored sessions hold camera passwords and webhook secrets; only JSON for the store shows them."""

from pathlib import Path

from pydantic import SecretStr

from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.webhook_records import StoredWebhook
from tests.support.store_kit import Clock, open_sqlite, queue, record, with_worker

URL, SECRET = "https://user:hunter2@example.org/hook?token=hunter2", "whsec_hunter2"


def with_webhook() -> SessionRecord:
    target = StoredWebhook(url=SecretStr(URL), secret=SecretStr(SECRET))
    return record().model_copy(update={"webhook": target})


def test_no_representation_of_a_record_shows_a_secret() -> None:
    session = with_webhook()
    for shown in (repr(session), str(session), f"{session.source} {session.webhook}", str(session.model_dump())):
        assert "hunter2" not in shown
        assert "user:secret" not in shown


async def test_the_store_keeps_the_secrets(store: Store) -> None:
    created = await queue(store, with_webhook())
    read = await store.sessions.get(created.id)
    assert read == created
    assert read.source.model_dump(mode="json")["url"] == "http://user:secret@example.org/a.mp4"
    [webhook] = await store.outbox.due(now_unix_s=1.0, limit=1)
    assert (webhook.url.get_secret_value(), webhook.secret.get_secret_value()) == (URL, SECRET)
    assert "hunter2" not in repr(webhook)


async def test_a_deleted_session_leaves_no_secret_in_the_database_files(tmp_path: Path, clock: Clock) -> None:
    async with with_worker(open_sqlite(tmp_path, clock)) as store:
        session = await queue(store, with_webhook())
        await queue(store)
        await store.sessions.request_stop(session.id)
        assert hits(tmp_path, b"hunter2") > 0
        await store.sessions.delete(session.id)
        assert hits(tmp_path, b"hunter2") == 0


def hits(folder: Path, text: bytes) -> int:
    return sum(path.read_bytes().count(text) for path in folder.iterdir())
