"""Rows of given, mostly random, content in each table of SQLite and under each kind of key in Redis."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis import Redis

Values = list[object]
BAD_ID = b"bad \xff"
"""No UTF-8."""


def insert_rows(path: Path, content: list[tuple[int, Values]], session_id: str) -> None:
    """Add rows to a database; half of those of tables that belong to sessions are of the session `session_id`."""
    db = sqlite3.connect(path)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    tables = [name for name in tables if not name.startswith("sqlite_") and name != "additions"]
    for number, values in content:
        table = tables[number % len(tables)]
        columns = [column for _, column, *_ in db.execute(f"PRAGMA table_info({table})")]
        row = values[: len(columns)]
        if "session_id" in columns and number // len(tables) % 2:
            row[columns.index("session_id")] = session_id
        with suppress(sqlite3.Error):
            db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({','.join('?' * len(row))})", row)
    db.commit()
    db.close()


Poison = Callable[[Redis, str, Values], None]
"""Writes rows; the second argument is the id of a sound session, which gets some of them."""


def hash_row(client: Redis, name: str | bytes, fields: tuple[str, ...], values: Values) -> None:
    """Write the values to the fields of a hash, leaving out one in three."""
    for field, content in zip(fields, values, strict=False):
        if values.index(content) % 3:
            client.hset(name, field, content)  # type: ignore[arg-type]


def poison_session(client: Redis, session_id: str, values: Values) -> None:
    """A session of random fields that waits in a queue and is in every index."""
    for bad in (b"bad", BAD_ID):
        key = b"{cake}:session:" + bad
        hash_row(client, key, ("_n", "_cost", "_pace", "_model", "_entry", "id", "source", "state"), values)
        owner: Any = client.hget(f"{{cake}}:session:{session_id}", "_owner") or b""
        client.hset(key, mapping={"_owner": owner, "_worker": ""})
        client.xadd("{cake}:queue:fast:mocap", {"session": bad})
        indexes = (b"sessions", b"sessions:owner:" + owner, b"sessions:state:queued", b"orphans", b"ended", b"watched")
        for index in indexes:
            client.zadd(b"{cake}:" + index, {bad: 1})
        client.sadd("{cake}:stops", bad)


def poison_worker(client: Redis, session_id: str, values: Values) -> None:
    for bad in (b"bad", BAD_ID):
        hash_row(client, b"{cake}:worker:" + bad, ("info", "capacity"), values)
        client.zadd("{cake}:leases", {bad: 1005.0})
        client.sadd(b"{cake}:worker:" + bad + b":sessions", bad)


def poison_webhook(client: Redis, session_id: str, values: Values) -> None:
    for bad in (b"bad", BAD_ID):
        hash_row(client, b"{cake}:webhook:" + bad, ("url", "attempts", "failing_since", "secret"), values)
        client.zadd("{cake}:webhooks", {bad: 0})


def poison_deliveries(client: Redis, session_id: str, values: Values) -> None:
    for content in values:
        client.rpush(f"{{cake}}:deliveries:{session_id}", content)  # type: ignore[arg-type]


def poison_subscription(client: Redis, session_id: str, values: Values) -> None:
    for bad in (b"bad", BAD_ID):
        hash_row(client, b"{cake}:subscription:" + bad, ("record", "revision", "progress", "key"), values)
        client.hset(b"{cake}:subscription:" + bad, "state", "active")
        client.zadd("{cake}:subscriptions", {bad: 0})


def poison_key(client: Redis, session_id: str, values: Values) -> None:
    for bad, content in ((b"bad", values[0]), (BAD_ID, values[1])):
        client.hset("{cake}:keys", bad, content)  # type: ignore[arg-type]
        client.hset("{cake}:keys:used", bad, content)  # type: ignore[arg-type]
        client.rpush("{cake}:keys:order", bad)
    for key_id in client.hkeys("{cake}:keys"):
        client.hset("{cake}:keys:used", key_id, values[2])  # type: ignore[arg-type]


def poison_ticket(client: Redis, session_id: str, values: Values) -> None:
    client.set("{cake}:ticket:bad", values[0])  # type: ignore[arg-type]


def poison_models(client: Redis, session_id: str, values: Values) -> None:
    for field, content in zip(("bad@1", BAD_ID), values, strict=False):
        client.hset("{cake}:models", field, content)  # type: ignore[arg-type]


def poison_model(client: Redis, session_id: str, values: Values) -> None:
    for field, content in zip((b"bad", BAD_ID), values, strict=False):
        client.hset("{cake}:models", field, content)  # type: ignore[arg-type]


def poison_feedback(client: Redis, session_id: str, values: Values) -> None:
    for field, content in zip((b"bad", BAD_ID), values, strict=False):
        client.hset(f"{{cake}}:feedback:{session_id}", field, content)  # type: ignore[arg-type]


def poison_resume_point(client: Redis, session_id: str, values: Values) -> None:
    fields = ("position_s", "starts", "frames", "detector_position_s", "detector")
    hash_row(client, f"{{cake}}:checkpoint:{session_id}", fields, values)


def newest_ms(client: Redis, stream: str) -> int:
    """The first number of the newest entry's id."""
    newest: Any = client.xrevrange(stream, count=1)
    return int(newest[0][0].split(b"-")[0]) if newest else 1


def poison_streams_of_the_session(client: Redis, session_id: str, values: Values) -> None:
    """Entries right behind the newest event and the newest scores."""
    for kind, fields in (("events", ("event", "cursor", "since_0_2")), ("events", ("other",)), ("scores", ("s",))):
        key = f"{{cake}}:{kind}:{session_id}"
        behind = newest_ms(client, key)
        client.xadd(key, dict(zip(fields, values, strict=False)), id=f"{behind}-*")  # type: ignore[arg-type]


def poison_queues(client: Redis, session_id: str, values: Values) -> None:
    for pace, fields in (("fast", ("session",)), ("fast", ("other",)), ("realtime", ("session", "other"))):
        client.xadd(f"{{cake}}:queue:{pace}:mocap", dict(zip(fields, values, strict=False)))  # type: ignore[arg-type]


def poison_log(client: Redis, session_id: str, values: Values) -> None:
    for fields in (("event", "owner", "since_0_2"), ("other",)):
        behind = newest_ms(client, "{cake}:log")
        client.xadd("{cake}:log", dict(zip(fields, values, strict=False)), id=f"{behind}-*")  # type: ignore[arg-type]


POISONS: tuple[Poison, ...] = (
    poison_session,
    poison_worker,
    poison_webhook,
    poison_deliveries,
    poison_subscription,
    poison_key,
    poison_ticket,
    poison_model,
    poison_feedback,
    poison_models,
    poison_resume_point,
    poison_streams_of_the_session,
    poison_queues,
    poison_log,
)
