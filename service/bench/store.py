"""What the store takes: commits of many live sessions at a time, how long one waits, how late readers hear of it."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.bench.ages import percentiles_ms
from service.beside import beside
from service.schemas import ActionStartEvent, Latency, ModelInfo, PushSource
from service.store import open_store
from service.store.base import ScoreRow, SessionRecord, SessionUpdate, Store, WorkerInfo, state_event
from service.store.checkpoint import Checkpoint, Remembered

MODEL = "bench"
"""A name that no worker has: nobody else takes these sessions."""
LABELS = tuple(f"action-{n}" for n in range(14))
SAMPLE_HZ, COMMIT_EVERY_S = 10, 0.5
CHECKPOINT_BYTES, CHECKPOINTERS = 1_100_000, 4


@dataclass(frozen=True)
class StoreRates:
    """`committers` sessions that commit one after the other, as fast as the store lets them."""

    store: str
    committers: int
    commits_per_s: float
    """Of half a second's scores and one event each: as many events a second."""
    commit_p50_ms: float
    commit_p95_ms: float
    commit_p99_ms: float
    heard_p50_ms: float
    """From the call of a commit to its event at another client of the store."""
    heard_p95_ms: float
    with_checkpoint_per_s: float
    """Commits that bring a detector's state of `mocap` as well, of up to CHECKPOINTERS sessions at a time."""


async def measure_store(url: str | None, folder: Path, committers: int, duration_s: float) -> StoreRates:
    """Of the store that `url` names, else of a new file; what is written is deleted again. Raises ServiceError."""
    url = url or f"sqlite://{folder / 'bench.db'}"
    worker_id = f"bench-{uuid.uuid4().hex[:8]}"
    store, reader = open_store(url), open_store(url)
    try:
        info = ModelInfo(name=MODEL, version="bench", labels=list(LABELS), sample_hz=SAMPLE_HZ, image_size=96)
        await store.register_worker(WorkerInfo(worker_id, 1e6, (info,)))
        sessions = [await _claimed(store, worker_id) for _ in range(committers)]
        commits_s, heard_s = list[float](), list[float]()
        async with beside(_renew(store, worker_id)):
            async with beside(_listen(reader, heard_s)):
                rate = await _commit_all(store, sessions, duration_s, commits_s)
            remembered = Remembered(0.0, bytes(CHECKPOINT_BYTES))
            heavy = await _commit_all(store, sessions[:CHECKPOINTERS], duration_s / 4, [], remembered)
        for session in sessions:
            await _remove(store, session)
        await store.release_worker(worker_id)
    finally:
        await reader.close()
        await store.close()
    p50_ms, p95_ms, p99_ms = percentiles_ms(commits_s, (50, 95, 99))
    heard_p50_ms, heard_p95_ms = percentiles_ms(heard_s, (50, 95))
    kind = url.partition("://")[0]
    return StoreRates(kind, committers, round(rate), p50_ms, p95_ms, p99_ms, heard_p50_ms, heard_p95_ms, round(heavy))


async def _claimed(store: Store, worker_id: str) -> SessionRecord:
    record = SessionRecord(
        id=f"bench-{uuid.uuid4()}",
        source=PushSource(),
        model=MODEL,
        model_version="bench",
        labels=LABELS,
        pace="realtime",
        cost_steps_per_s=SAMPLE_HZ,
        created_at=datetime.now(UTC),
    )
    await store.create_session(record, max_queued=10**6, may_wait=True)
    claimed = await store.claim_session(worker_id)
    assert claimed is not None
    return claimed


async def _commit_all(
    store: Store,
    sessions: list[SessionRecord],
    duration_s: float,
    commits_s: list[float],
    remembered: Remembered | None = None,
) -> float:
    """Commits a second of all sessions together."""
    began_s, before = time.perf_counter(), len(commits_s)
    until_s = began_s + duration_s

    async def commit(session: SessionRecord) -> None:
        # Media time goes on from the last call.
        for media_s in _half_seconds(time.time()):
            if time.perf_counter() > until_s:
                return
            commit_began_s = time.perf_counter()
            await store.commit(
                session.id,
                session.token,
                events=[_start(session, media_s)],
                update=SessionUpdate(position_s=media_s),
                scores=[ScoreRow(media_s + n / SAMPLE_HZ, [0.5] * len(LABELS)) for n in range(5)],
                checkpoint=Checkpoint(media_s, {}, round(media_s * SAMPLE_HZ), remembered),
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
        await store.renew_leases(worker_id)
        await asyncio.sleep(1.0)


async def _listen(reader: Store, heard_s: list[float]) -> None:
    cursor = await reader.log_end()
    while True:
        await reader.wait_log(cursor, timeout_s=1.0)
        for entry in await reader.read_log(after=cursor):
            cursor = entry.cursor
            if entry.event.type == "action.start":
                heard_s.append((datetime.now(UTC) - entry.event.time).total_seconds())


async def _remove(store: Store, session: SessionRecord) -> None:
    record = await store.get_session(session.id)
    now = datetime.now(UTC)
    end = state_event(record, "stopped", time=now)
    await store.commit(session.id, session.token, events=[end], update=SessionUpdate(state="stopped", ended_at=now))
    await store.delete_session(session.id)
