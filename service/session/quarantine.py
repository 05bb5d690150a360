"""Counts how many workers in a row died while they ran a session, to give up a session that kills its workers."""

import structlog

from service.observability.telemetry import WorkerMetrics
from service.session.events import EventBuffer
from service.session.outcome import KILLS_WORKERS, Outcome
from service.store.records import SessionRecord

MAX_DEATHS = 3
# A session that advanced this far in media time before its worker died is not considered the cause.
PROGRESS_S = 10.0
_log = structlog.get_logger(__name__)


def note_claim(events: EventBuffer, metrics: WorkerMetrics) -> Outcome | None:
    """Count the workers that died while running a session that was just claimed; returns an outcome if there were too
    many.
    """
    record, deaths = events.record, deaths_in_a_row(events.record)
    events.update(worker_deaths=deaths, claimed_at_position_s=record.position_s)
    if record.claimed_at_position_s is None and record.state == "queued":
        return None
    fields = {"session": record.id, "name": record.name, "position_s": round(record.position_s, 3)}
    if record.claimed_at_position_s is None:
        _log.info("session resumed after its worker handed it over", **fields)
        return None
    _log.warning("session taken over from a worker that died", worker_deaths=deaths, **fields)
    if deaths < MAX_DEATHS:
        return None
    metrics.poison.labels("sessions").inc()
    return Outcome("failed", "internal", KILLS_WORKERS.format(deaths))


def deaths_in_a_row(record: SessionRecord) -> int:
    """How many workers died in a row while running a session that was just claimed, the last one included.

    A worker that hands its session over clears `claimed_at_position_s`. If the source was unavailable when the worker
    died, the session is not considered the cause either.
    """
    if record.claimed_at_position_s is None:
        return 0
    if record.state == "reconnecting":
        return record.worker_deaths
    has_progressed = record.position_s - record.claimed_at_position_s >= PROGRESS_S
    return 1 if has_progressed else record.worker_deaths + 1


def is_suspect(record: SessionRecord) -> bool:
    """Whether the next death of its worker ends the session: it should run while the worker claims no others."""
    if record.worker_deaths < MAX_DEATHS - 1 or record.claimed_at_position_s is None:
        return False
    return record.position_s - record.claimed_at_position_s < PROGRESS_S
