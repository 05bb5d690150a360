"""Stored rows as a process of another version would have written them."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from redis import Redis

from service.store.protocols import Store
from tests.support.redis_server import RedisServer
from tests.support.store_kit import Clock, open_redis, open_sqlite

Row = dict[str, Any]


class Backend:
    """Changes stored rows as a process of another version would have written them."""

    def __init__(self, kind: str, folder: Path, redis: RedisServer | None) -> None:
        self._path = folder / "cake.db"
        self._redis: Redis | None = None if redis is None else redis.client()
        self._folder = folder
        self._url = None if redis is None else redis.url

    def open(self, clock: Clock) -> Store:
        return open_sqlite(self._folder, clock) if self._url is None else open_redis(self._url, clock)

    def change_session(self, session_id: str, changes: Mapping[str, object]) -> None:
        if self._redis is not None:
            for name, value in changes.items():
                self._redis.hset(f"{{cake}}:session:{session_id}", name, json.dumps(value))
            return
        with sqlite3.connect(self._path) as db:
            [(text,)] = db.execute("SELECT record FROM sessions WHERE id = ?", (session_id,)).fetchall()
            changed = json.dumps({**json.loads(text), **changes})
            db.execute("UPDATE sessions SET record = ? WHERE id = ?", (changed, session_id))

    def session_field(self, session_id: str, name: str) -> object:
        if self._redis is not None:
            return json.loads(cast(bytes, self._redis.hget(f"{{cake}}:session:{session_id}", name)))
        with sqlite3.connect(self._path) as db:
            [(text,)] = db.execute("SELECT record FROM sessions WHERE id = ?", (session_id,)).fetchall()
            return json.loads(text)[name]

    def append_event(self, session_id: str, event: Row) -> None:
        media_ms, seq = event["id"].split("-")
        text = json.dumps(event)
        if self._redis is not None:
            cursor = self._redis.incr("{cake}:cursor")
            fields = {"event": text, "cursor": cursor}
            self._redis.xadd(f"{{cake}}:events:{session_id}", fields, id=f"{media_ms}-{int(seq) + 1}")  # type: ignore[arg-type]
            self._redis.xadd("{cake}:log", {"event": text, "owner": ""}, id=f"{cursor}-0")
            return
        with sqlite3.connect(self._path) as db:
            db.execute(
                "INSERT INTO events (session_id, media_ms, seq, event) VALUES (?, ?, ?, ?)",
                (session_id, int(media_ms), int(seq), text),
            )
