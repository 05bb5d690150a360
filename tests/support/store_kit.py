"""Helpers for the contract tests of a store."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from service.event_schemas import ActionStartEvent, Latency, event_key
from service.feedback import Feedback
from service.server_schemas import ModelInfo
from service.sources.stored import StoredUrl
from service.store.protocols import Store
from service.store.records import DetectorSnapshot, ResumePoint, SessionRecord
from service.store.redis.store import open_redis_store
from service.store.sqlite.store import open_sqlite_store
from service.store.worker_records import WorkerInfo

MODEL = ModelInfo(name="mocap", version="abc", labels=["kick", "jump"], sample_hz=10, image_size=96)
CHECKPOINT = ResumePoint(1.5, starts={"kick": {"open": True}}, frames=15, detector=DetectorSnapshot(1.2, b"\x00state"))
ids = itertools.count()


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def open_sqlite(folder: Path, clock: Clock) -> Store:
    return open_sqlite_store(folder / "cake.db", scores_keep_s=100, clock=clock)


def open_redis(url: str, clock: Clock) -> Store:
    return open_redis_store(url, scores_keep_s=100, clock=clock)


BACKENDS = ("sqlite", "redis")


@asynccontextmanager
async def with_worker(store: Store) -> AsyncIterator[Store]:
    """A new store, with one worker."""
    try:
        await store.workers.register(WorkerInfo("w1", 100.0, (MODEL,)))
        yield store
    finally:
        await store.close()


def record(*, cost: float = 2.0, pace: str = "fast", model: str = "mocap") -> SessionRecord:
    """A session of a URL that no store has yet."""
    return SessionRecord.model_validate(
        {
            "id": f"session{next(ids)}",
            "source": StoredUrl(url=SecretStr("http://user:secret@example.org/a.mp4")),
            "model": model,
            "model_version": "abc",
            "labels": ("kick", "jump"),
            "pace": pace,
            "cost_steps_per_s": cost,
            "created_at": datetime.now(UTC),
        }
    )


def start(session_id: str, event_id: str) -> ActionStartEvent:
    """A start that was decided at the media time of the id."""
    return ActionStartEvent(
        id=event_id,
        session_id=session_id,
        decided_s=event_key(event_id)[0] / 1000,
        time=datetime.now(UTC),
        model="mocap",
        model_version="abc",
        label="kick",
        score=0.9,
        start_s=0.0,
        latency_s=Latency(decode=0.001, queue=0.001, infer=0.001, total=0.003),
    )


async def queue(store: Store, session: SessionRecord | None = None) -> SessionRecord:
    """Queue this session or a new one, and return it as stored."""
    return await store.sessions.create(session or record(), max_queued=10)


async def claimed(store: Store, worker_id: str = "w1") -> SessionRecord:
    """A new session that this worker has claimed."""
    await queue(store)
    session = await store.workers.claim(worker_id)
    assert session is not None
    return session


async def event_ids(store: Store, session_id: str, after: str | None = None) -> list[str]:
    return [event.id for event in await store.log.read_events(session_id, after=after)]


def missed_action(feedback_id: str, start_s: float, label: str = "kick") -> Feedback:
    """Feedback that this action was missed."""
    return Feedback(
        id=feedback_id,
        verdict="missed",
        label=label,
        region=None,
        start_s=start_s,
        end_s=None,
        score=None,
        rules_hash=None,
        note="",
        created_at=datetime.now(UTC),
        by=None,
    )
