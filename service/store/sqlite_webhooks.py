"""Statements about webhooks; each runs inside a transaction of its caller."""

import sqlite3

from service.schemas import event_key
from service.webhooks.outbox import Webhook


def due(db: sqlite3.Connection, *, now_unix_s: float, limit: int) -> list[Webhook]:
    rows = db.execute(
        """SELECT w.* FROM webhooks w
           WHERE NOT done AND try_at <= :now
             AND EXISTS (SELECT 1 FROM events e
                         WHERE e.session_id = w.session_id AND (e.media_ms, e.seq) > (w.media_ms, w.seq))
           ORDER BY try_at LIMIT :limit""",
        {"now": now_unix_s, "limit": limit},
    )
    return [
        Webhook(row["session_id"], row["url"], row["secret"], row["delivered"], row["attempts"], row["failing_since"])
        for row in rows
    ]


def delivered(db: sqlite3.Connection, session_id: str, event_id: str, *, last: bool) -> None:
    media_ms, seq = event_key(event_id)
    db.execute(
        """UPDATE webhooks SET delivered = ?, media_ms = ?, seq = ?, attempts = 0, failing_since = NULL, done = ?
           WHERE session_id = ?""",
        (event_id, media_ms, seq, last, session_id),
    )


def failed(db: sqlite3.Connection, session_id: str, *, now_unix_s: float, retry_unix_s: float | None) -> None:
    db.execute(
        """UPDATE webhooks SET attempts = attempts + 1, failing_since = coalesce(failing_since, ?),
             try_at = coalesce(?, try_at), done = ?
           WHERE session_id = ?""",
        (now_unix_s, retry_unix_s, retry_unix_s is None, session_id),
    )
