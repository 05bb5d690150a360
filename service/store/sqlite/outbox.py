"""Webhooks in SQLite."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial

from pydantic import SecretStr

from service.event_schemas import event_key
from service.store.reading import RETRY_AFTER_S, Reader, parse_attempt, unreadable_webhook
from service.store.sqlite.database import Database
from service.store.webhook_records import (
    MAX_DELIVERY_ATTEMPTS,
    DeliveryAttempt,
    Webhook,
    WebhookBacklog,
    WebhookProgress,
    receiver_of,
    webhook_progress,
)


class SqliteOutbox:
    """Implements `service.store.delivery_protocols.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(
        self,
        *,
        now_unix_s: float,
        limit: int,
        skip_sessions: Sequence[str] = (),
        skip_owners: Sequence[str] = (),
        skip_receivers: Sequence[str] = (),
    ) -> list[Webhook]:
        skipped = {"sessions": skip_sessions, "owners": skip_owners, "receivers": skip_receivers}
        rows = await self._database.read(lambda db: _due(db, now_unix_s, limit, skipped))
        found = [
            (row, self._database.reader.read("webhook", row["session_id"], partial(_webhook, row))) for row in rows
        ]
        for row, webhook in found:
            if webhook is None:
                await self._database.write(partial(_postpone, session_id=row["session_id"], now_unix_s=now_unix_s))
        return [webhook for _, webhook in found if webhook is not None]

    async def note_delivered(
        self, session_id: str, event_id: str, *, after: str | None, now_unix_s: float, last: bool
    ) -> bool:
        return await self._database.write(lambda db: _note_delivered(db, session_id, event_id, after, now_unix_s, last))

    async def note_failed(
        self, session_id: str, event_id: str, *, reason: str, now_unix_s: float, retry_unix_s: float | None
    ) -> None:
        attempt = DeliveryAttempt(event_id, now_unix_s, reason)
        await self._database.write(lambda db: _note_failed(db, session_id, attempt, retry_unix_s))

    async def backlog(self, *, now_unix_s: float) -> WebhookBacklog:
        return await self._database.read(lambda db: _backlog(db, now_unix_s))

    async def progress(self, session_id: str) -> WebhookProgress | None:
        return await self._database.read(lambda db: _progress(db, self._database.reader, session_id))

    async def redeliver(self, session_id: str, *, after: str | None) -> None:
        await self._database.write(lambda db: _redeliver(db, session_id, after))

    async def disable_all_of(self, owner: str) -> None:
        query = "UPDATE webhooks SET done = 1 WHERE session_id IN (SELECT id FROM sessions WHERE owner = ?)"
        await self._database.write(lambda db: db.execute(query, (owner,)), essential=True)

    async def rotate_secret(self, session_id: str, secret: SecretStr, *, old_until_unix_s: float) -> None:
        await self._database.write(
            lambda db: db.execute(
                """UPDATE webhooks SET old_secret = CASE secret WHEN :secret THEN old_secret ELSE secret END,
                   old_secret_until = :until, secret = :secret WHERE session_id = :id""",
                {"until": old_until_unix_s, "secret": secret.get_secret_value(), "id": session_id},
            )
        )


def _due(
    db: sqlite3.Connection, now_unix_s: float, limit: int, skipped: Mapping[str, Sequence[str]]
) -> list[sqlite3.Row]:
    db.create_function("receiver_of", 1, _receiver, deterministic=True)
    rows = db.execute(
        """SELECT w.*, s.owner FROM webhooks w JOIN sessions s ON s.id = w.session_id
           WHERE NOT done AND try_at <= :now
             AND w.session_id NOT IN (SELECT value FROM json_each(:sessions))
             AND (s.owner IS NULL OR s.owner NOT IN (SELECT value FROM json_each(:owners)))
             AND receiver_of(w.url) NOT IN (SELECT value FROM json_each(:receivers))
             AND EXISTS (SELECT 1 FROM events e
                         WHERE e.session_id = w.session_id AND (e.media_ms, e.seq) > (w.media_ms, w.seq))
           ORDER BY try_at LIMIT :limit""",
        {
            "now": now_unix_s,
            "limit": limit,
            **{name: json.dumps(list(values)) for name, values in skipped.items()},
        },
    )
    return rows.fetchall()


def _receiver(url: object) -> str:
    return receiver_of(url) if isinstance(url, str) else ""


def _backlog(db: sqlite3.Connection, now_unix_s: float) -> WebhookBacklog:
    # An event that cannot be read is counted, but has no time.
    [row] = db.execute(
        """SELECT count(first) AS pending, min((julianday(nullif(first, '')) - 2440587.5) * 86400.0) AS oldest
           FROM (SELECT (SELECT coalesce(CASE WHEN json_valid(e.event) THEN json_extract(e.event, '$.time') END, '')
                         FROM events e
                         WHERE e.session_id = w.session_id AND (e.media_ms, e.seq) > (w.media_ms, w.seq)
                         ORDER BY e.media_ms, e.seq LIMIT 1) AS first
                 FROM webhooks w WHERE NOT done)"""
    )
    return WebhookBacklog(row["pending"], 0.0 if row["oldest"] is None else max(0.0, now_unix_s - row["oldest"]))


def _postpone(db: sqlite3.Connection, session_id: str, now_unix_s: float) -> None:
    """Set aside a webhook that this version cannot read."""
    db.execute("UPDATE webhooks SET try_at = ? WHERE session_id = ?", (now_unix_s + RETRY_AFTER_S, session_id))


def _webhook(row: sqlite3.Row) -> Webhook:
    return Webhook(
        session_id=row["session_id"],
        url=_secret(row["url"]),
        secret=_secret(row["secret"]),
        delivered=row["delivered"],
        attempts=int(row["attempts"]),
        failing_since_unix_s=None if row["failing_since"] is None else float(row["failing_since"]),
        owner=row["owner"],
        old_secret=None if row["old_secret"] is None else SecretStr(row["old_secret"]),
        old_secret_until_unix_s=float(row["old_secret_until"]),
    )


def _secret(value: object) -> SecretStr:
    if not isinstance(value, str):
        raise TypeError
    return SecretStr(value)


def _note_delivered(
    db: sqlite3.Connection, session_id: str, event_id: str, after: str | None, now_unix_s: float, last: bool
) -> bool:
    media_ms, seq = event_key(event_id)
    noted = db.execute(
        """UPDATE webhooks SET delivered = ?, media_ms = ?, seq = ?, attempts = 0, failing_since = NULL, done = ?
           WHERE session_id = ? AND delivered IS ? AND NOT done""",
        (event_id, media_ms, seq, last, session_id, after),
    )
    if noted.rowcount:
        _keep(db, session_id, DeliveryAttempt(event_id, now_unix_s, None))
    return noted.rowcount > 0


def _note_failed(db: sqlite3.Connection, session_id: str, attempt: DeliveryAttempt, retry_unix_s: float | None) -> None:
    noted = db.execute(
        """UPDATE webhooks SET attempts = attempts + 1, failing_since = coalesce(failing_since, ?),
             try_at = coalesce(?, try_at), done = done OR ?
           WHERE session_id = ?""",
        (attempt.at_unix_s, retry_unix_s, retry_unix_s is None, session_id),
    )
    if noted.rowcount:
        _keep(db, session_id, attempt)


def _keep(db: sqlite3.Connection, session_id: str, attempt: DeliveryAttempt) -> None:
    db.execute(
        "INSERT INTO deliveries (session_id, event_id, at, failure) VALUES (?, ?, ?, ?)",
        (session_id, attempt.event_id, attempt.at_unix_s, attempt.failure),
    )
    db.execute(
        """DELETE FROM deliveries WHERE session_id = :id AND n <=
             (SELECT n FROM deliveries WHERE session_id = :id ORDER BY n DESC LIMIT 1 OFFSET :kept)""",
        {"id": session_id, "kept": MAX_DELIVERY_ATTEMPTS},
    )


def _progress(db: sqlite3.Connection, reader: Reader, session_id: str) -> WebhookProgress | None:
    row = db.execute(
        "SELECT w.*, s.owner FROM webhooks w JOIN sessions s ON s.id = w.session_id WHERE s.id = ?", (session_id,)
    ).fetchone()
    if row is None:
        return None
    webhook = reader.read("webhook", session_id, lambda: _webhook(row))
    if webhook is None:
        raise unreadable_webhook()
    kept = db.execute(
        "SELECT event_id, at AS at_unix_s, failure FROM deliveries WHERE session_id = ? ORDER BY n DESC", (session_id,)
    )
    attempts = (reader.read("delivery", session_id, partial(parse_attempt, dict(each))) for each in kept)
    undelivered = db.execute(
        "SELECT 1 FROM events WHERE session_id = ? AND (media_ms, seq) > (?, ?) LIMIT 1",
        (session_id, row["media_ms"], row["seq"]),
    ).fetchone()
    return webhook_progress(
        webhook,
        next_attempt_unix_s=None if row["done"] else row["try_at"],
        attempts=[attempt for attempt in attempts if attempt is not None],
        is_complete=undelivered is None,
    )


def _redeliver(db: sqlite3.Connection, session_id: str, after: str | None) -> None:
    media_ms, seq = (-1, -1) if after is None else event_key(after)
    db.execute(
        """UPDATE webhooks SET delivered = ?, media_ms = ?, seq = ?, attempts = 0, failing_since = NULL, try_at = 0,
             done = 0 WHERE session_id = ?""",
        (after, media_ms, seq, session_id),
    )
