"""Continues a session where an earlier worker left it."""

from model.compiled.state import StateError
from service.session.commits import Commits
from service.session.context import WorkerContext
from service.session.detection import Detection
from service.session.events import EventBuffer
from service.session.source import SessionSource


async def resumed_detection(
    context: WorkerContext, events: EventBuffer, commits: Commits, source: SessionSource
) -> Detection:
    """The detection from the session's last resume point, or a new one. `events` and `source` continue there as well.

    Raises NotFoundError if the session was deleted, and ServiceError if the store stays away while it is handed over.
    """
    engine, record = context.engine, events.record
    resume_point = await commits.retry(lambda: context.store.log.load_resume_point(record.id))
    if resume_point is None:
        events.update(position_s=0.0, frames=0)
        return await Detection.begin(engine, record)
    events.update(position_s=resume_point.position_s, frames=resume_point.frames)
    source.resume(resume_point.position_s, record.started_at)
    if source.is_pushed and record.state == "running":
        events.enter_state("reconnecting")
    try:
        detection = await Detection.resume(engine, record, resume_point)
    except StateError:
        events.add_gap(resume_point.position_s, 0.0)
        return await Detection.begin(engine, record, after=resume_point)
    if source.is_pushed:
        detection.interrupt()
    return detection
