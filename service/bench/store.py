"""Measures the store: commits of many live sessions, how long each takes, and when readers are notified."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.background import background_task
from service.bench.latencies import percentiles_ms
from service.event_schemas import ActionStartEvent, Latency
from service.server_schemas import ModelInfo
from service.sources.stored import StoredPush
from service.store import open_store
from service.store.protocols import Store
from service.store.records import DetectorSnapshot, ResumePoint, ScoreRow, SessionRecord, SessionUpdate, state_event
from service.store.worker_records import WorkerInfo

MODEL = "bench"
"""A model name that no worker has, so that no worker claims these sessions."""
LABELS = tuple(f"action-{n}" for n in range(14))
SAMPLE_HZ, COMMIT_EVERY_S = 10, 0.5
CHECKPOINT_BYTES, CHECKPOINTERS = 1_100_000, 4


@dataclass(frozen=True)
class StoreRates:
    """Results of `committers` sessions that commit as fast as the store allows."""

    store: str
    committers: int
    commits_per_s: float
    """Commits of half a second's scores and one event each."""
    commit_p50_ms: float
    commit_p95_ms: float
    commit_p99_ms: float
    notified_p50_ms: float
    """From the start of a commit until another client of the store receives its event."""
    notified_p95_ms: float
    with_checkpoint_per_s: float
    """Commits that include a detector state of `mocap`, of up to CHECKPOINTERS concurrent sessions."""


async def measure_store(url: str | None, folder: Path, committers: int, duration_s: float) -> StoreRates:
    """Measure the store that `url` names, or a new file. Written data is deleted again. Raises ServiceError."""
    url = url or f"sqlite://{folder / 'bench.db'}"
    worker_id = f"bench-{uuid.uuid4().hex[:8]}"
    store, reader = open_store(url), open_store(url)
    try:
        info = ModelInfo(name=MODEL, version="bench", labels=list(LABELS), sample_hz=SAMPLE_HZ, image_size=96)
        await store.workers.register(WorkerInfo(worker_id, 1e6, (info,)))
        sessions = [await _claimed(store, worker_id) for _ in range(committers)]
        commits_s, notified_s = list[float](), list[float]()
        async with background_task(_renew(store, worker_id)):
            async with background_task(_listen(reader, notified_s)):
                rate = await _commit_all(store, sessions, duration_s, commits_s)
            remembered = DetectorSnapshot(0.0, bytes(CHECKPOINT_BYTES))
            heavy = await _commit_all(store, sessions[:CHECKPOINTERS], duration_s / 4, [], remembered)
        for session in sessions:
            await _remove(store, session)
        await store.workers.release(worker_id)
    finally:
        await reader.close()
        await store.close()
    p50_ms, p95_ms, p99_ms = percentiles_ms(commits_s, (50, 95, 99))
    notified_p50_ms, notified_p95_ms = percentiles_ms(notified_s, (50, 95))
    kind = url.partition("://")[0]
    return StoreRates(
        kind, committers, round(rate), p50_ms, p95_ms, p99_ms, notified_p50_ms, notified_p95_ms, round(heavy)
    )


async def _claimed(store: Store, worker_id: str) -> SessionRecord:
    record = SessionRecord(
        id=f"bench-{uuid.uuid4()}",
        source=StoredPush(),
        model=MODEL,
        model_version="bench",
        labels=LABELS,
        pace="realtime",
        cost_steps_per_s=SAMPLE_HZ,
        created_at=datetime.now(UTC),
    )
    await store.sessions.create(record, max_queued=10**6, may_wait=True)
    claimed = await store.workers.claim(worker_id)
    assert claimed is not None
    return claimed


async def _commit_all(
    store: Store,
    sessions: list[SessionRecord],
    duration_s: float,
    commits_s: list[float],
    remembered: DetectorSnapshot | None = None,
) -> float:
    """Commits per second of all sessions."""
    began_s, before = time.perf_counter(), len(commits_s)
    until_s = began_s + duration_s

    async def commit(session: SessionRecord) -> None:
        # Media time continues from the previous call.
        for media_s in _half_seconds(time.time()):
            if time.perf_counter() > until_s:
                return
            commit_began_s = time.perf_counter()
            await store.log.commit(
                session.id,
                session.token,
                events=[_start(session, media_s)],
                update=SessionUpdate(position_s=media_s),
                scores=[ScoreRow(media_s + n / SAMPLE_HZ, [0.5] * len(LABELS)) for n in range(5)],
                resume_point=ResumePoint(media_s, {}, round(media_s * SAMPLE_HZ), remembered),
            )
            commits_s.append(time.perf_counter() - commit_began_s)

    await asyncio.gather(*map(commit, sessions))
    return (len(commits_s) - before) / (time.perf_counter() - began_s)


def _half_seconds(begin_s: float) -> Iterator[float]:
    while True:
        begin_s += COMMIT_EVERY_S
        yield begin_s


def _start(session: SessionRecord, media_s: float) -> ActionStartEvent:
    return ActionStartEvent(
        id=f"{round(media_s * 1000)}-0",
        session_id=session.id,
        decided_s=media_s,
        time=datetime.now(UTC),
        model=MODEL,
        model_version="bench",
        label=LABELS[0],
        score=0.9,
        start_s=media_s,
        latency_s=Latency(decode=0.0, queue=0.0, infer=0.0, total=0.0),
    )


async def _renew(store: Store, worker_id: str) -> None:
    while True:
        await store.workers.renew(worker_id)
        await asyncio.sleep(1.0)


async def _listen(reader: Store, notified_s: list[float]) -> None:
    cursor = await reader.log.end()
    while True:
        await reader.log.wait(cursor, timeout_s=1.0)
        for entry in (await reader.log.read(after=cursor)).entries:
            cursor = entry.cursor
            if entry.event.type == "action.start":
                notified_s.append((datetime.now(UTC) - entry.event.time).total_seconds())


async def _remove(store: Store, session: SessionRecord) -> None:
    record = await store.sessions.get(session.id)
    now = datetime.now(UTC)
    end = state_event(record, "stopped", time=now)
    await store.log.commit(session.id, session.token, events=[end], update=SessionUpdate(state="stopped", ended_at=now))
    await store.sessions.delete(session.id)
