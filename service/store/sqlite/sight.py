"""Which sessions a caller sees, asked for many rows in one transaction."""

import sqlite3

from pydantic_core import from_json

from service.access.sight import Sight
from service.store.reading import Reader, parse_metadata


class Seen:
    """Looks up the metadata of each session once, and only if the sight depends on them."""

    def __init__(self, db: sqlite3.Connection, reader: Reader, sight: Sight) -> None:
        self._db = db
        self._reader = reader
        self._sight = sight
        self._shown: dict[str, bool] = {}

    def shows(self, session_id: str, owner: str | None) -> bool:
        """Whether the sight shows the session; never one that was deleted or cannot be read."""
        if not self._sight.metadata:
            return self._sight.shows(owner, {})
        if session_id not in self._shown:
            self._shown[session_id] = self._look_up(session_id, owner)
        return self._shown[session_id]

    def _look_up(self, session_id: str, owner: str | None) -> bool:
        row = self._db.execute("SELECT record FROM sessions WHERE id = ?", (session_id,)).fetchone()
        if row is None:
            return False
        metadata = self._reader.read(
            "session", session_id, lambda: parse_metadata(from_json(row["record"]).get("metadata", {}))
        )
        return metadata is not None and self._sight.shows(owner, metadata)
