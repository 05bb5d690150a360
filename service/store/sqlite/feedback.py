"""Feedback in SQLite."""

import sqlite3
from functools import partial

from service.feedback import Feedback
from service.store.reading import parse_feedback
from service.store.sqlite.database import Database
from service.store.sqlite.session_rows import row_of


class SqliteFeedback:
    """Implements `service.store.protocols.FeedbackOfSessions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, session_id: str, feedback: Feedback, *, max_kept: int) -> bool:
        return await self._database.write(lambda db: _put(db, session_id, feedback, max_kept))

    async def delete(self, session_id: str, feedback_id: str) -> None:
        query = "DELETE FROM feedback WHERE session_id = ? AND id = ?"
        await self._database.write(lambda db: db.execute(query, (session_id, feedback_id)), essential=True)

    async def of_session(self, session_id: str) -> list[Feedback]:
        query = "SELECT id, record FROM feedback WHERE session_id = ?"
        rows = await self._database.read(lambda db: db.execute(query, (session_id,)).fetchall())
        read = self._database.reader.read
        found = [read("feedback", row["id"], partial(parse_feedback, row["record"])) for row in rows]
        return sorted((each for each in found if each is not None), key=lambda each: (each.start_s, each.id))


def _put(db: sqlite3.Connection, session_id: str, feedback: Feedback, max_kept: int) -> bool:
    row_of(db, session_id)
    changed = db.execute(
        """INSERT INTO feedback SELECT :session, :id, :record
           WHERE (SELECT count(*) FROM feedback WHERE session_id = :session AND id != :id) < :max
           ON CONFLICT DO UPDATE SET record = excluded.record""",
        {"session": session_id, "id": feedback.id, "record": feedback.model_dump_json(), "max": max_kept},
    )
    return changed.rowcount == 1
