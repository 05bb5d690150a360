"""Settings of a session that change while it runs; its detection adopts them between two frames."""

from service.session.detection import Detection
from service.session.engine import Engine
from service.session.events import EventBuffer
from service.store.records import SessionRecord


def as_run(record: SessionRecord, engine: Engine) -> SessionRecord:
    """The session with the model version that runs. For a configured model this is the loaded version, whichever the
    session began with.
    """
    if record.is_version_pinned:
        return record
    return record.model_copy(update={"model_version": engine.version(record.model_key)})


class SettingChanges:
    """The newest settings of a running session, and those that its detection has adopted."""

    def __init__(self, record: SessionRecord, engine: Engine, events: EventBuffer) -> None:
        self._engine, self._events = engine, events
        self._wanted = record
        self._followed: SessionRecord | None = None

    def note(self, record: SessionRecord) -> None:
        """Adopt the settings in the store's current record from the next frame on."""
        if record.revision > self._wanted.revision:
            self._wanted = as_run(record, self._engine)

    async def apply(self, detection: Detection) -> None:
        """Apply and publish changed settings of the session; without a change, only note a newer model's rules."""
        wanted = self._wanted
        # Until this worker has loaded a version, the session keeps the previous one.
        if self._followed is wanted or not self._engine.has(wanted.model_key):
            return
        self._followed = wanted
        is_same_model = wanted.model_key == detection.model_key
        self._events.add_actions(detection.change(wanted) if is_same_model else await detection.switch(wanted))
        self._events.decide_by(detection.rules)
        if wanted.revision > self._events.record.applied_revision:
            self._events.add_change(wanted)
