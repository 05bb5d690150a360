"""What a session has to tell: numbers its events, gathers scores, and writes both with the checkpoint that follows."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict

from model.starts import ActionEnd, ActionStart
from service.decoder_process import DecodedFrame
from service.detection import Seen
from service.schemas import (
    ActionEndEvent,
    ActionStartEvent,
    Event,
    FailureCode,
    Latency,
    SessionGapEvent,
    SessionState,
    next_event_id,
)
from service.store.base import ScoreRow, SessionRecord, SessionUpdate, Store, state_event
from service.store.checkpoint import Checkpoint
from service.telemetry import WorkerMetrics
from service.tracing import EventSpan

# What waits while the store is away: more than ten minutes of a camera at 10 frames a second.
MAX_EVENTS, MAX_SCORES = 10_000, 10_000


class _Common(TypedDict):
    id: str
    session_id: str
    decided_s: float
    time: datetime
    model: str
    model_version: str
    traceparent: str | None


@dataclass(frozen=True)
class Unsaved:
    """What is not in the store yet."""

    events: list[Event]
    scores: list[ScoreRow]
    update: SessionUpdate


class Journal:
    """The log of one session, as its owner writes it. Nothing is visible to anyone before `write`.

    `record` is the session as it will stand after the next commit. What was not written waits in memory. Ids follow
    from media time and from the newest id, which the store gives back after a crash: what is said again then gets the
    same id.
    """

    def __init__(self, record: SessionRecord, store: Store, metrics: WorkerMetrics) -> None:
        self.record = record
        self._store = store
        self._metrics = metrics
        self._changed: set[str] = set()
        self._events: list[Event] = []
        self._scores: list[ScoreRow] = []
        self._arrived_unix_s = 0.0
        self.lag_s = 0.0
        self._latency = Latency(decode=0.0, queue=0.0, infer=0.0, total=0.0)
        self._spans: dict[str, EventSpan] = {}
        """Of events that are not in the store yet."""

    @property
    def has_events(self) -> bool:
        """Whether events wait for the next commit."""
        return bool(self._events)

    def update(self, **fields: object) -> None:
        """Change fields of the session; names as in SessionUpdate."""
        self.record = self.record.model_copy(update=fields)
        self._changed |= fields.keys()

    def frame(self, frame: DecodedFrame, seen: Seen) -> None:
        """A frame was analysed: its scores, and what it decided."""
        self._arrived_unix_s = frame.arrived_unix_s
        self.lag_s = max(0.0, time.time() - frame.arrived_unix_s)
        self._latency = Latency(decode=frame.decode_s, queue=seen.queue_s, infer=seen.infer_s, total=0.0)
        self._metrics.decode_seconds.observe(frame.decode_s)
        self.actions(seen.ended_by_gap)
        if seen.gap_s is not None:
            self.gap(frame.pts_s, seen.gap_s)
        self.update(position_s=frame.pts_s, frames=self.record.frames + 1)
        self._scores.append(ScoreRow(frame.pts_s, seen.scores))
        self.actions(seen.decided)

    def actions(self, decided: Iterable[ActionStart | ActionEnd]) -> None:
        """What the start decoder decided at the newest frame."""
        for action in decided:
            total_s = max(0.0, time.time() - self._arrived_unix_s)
            latency = Latency(
                **{part: round(s, 6) for part, s in {**self._latency.model_dump(), "total": total_s}.items()}
            )
            span = EventSpan(
                self.record.traceparent,
                self._arrived_unix_s,
                self._latency.model_dump(include={"decode", "queue", "infer"}),
                {"cake.session": self.record.id, "cake.model": self.record.model, "cake.label": action.label},
            )
            score, start_s, common = round(action.score, 4), round(action.start_s, 3), self._common(action.decided_s)
            common["traceparent"] = span.traceparent
            if isinstance(action, ActionStart):
                event: Event = ActionStartEvent(
                    **common, label=action.label, score=score, start_s=start_s, latency_s=latency
                )
            else:
                end_s = round(action.end_s, 3)
                event = ActionEndEvent(
                    **common, label=action.label, score=score, start_s=start_s, end_s=end_s, latency_s=latency
                )
            self._append(event)
            self._spans[event.id] = span
            self._metrics.event_seconds.observe(total_s)

    def gap(self, decided_s: float, gap_s: float) -> None:
        """Nothing is known of the `gap_s` seconds before `decided_s`; detection started anew."""
        self._append(SessionGapEvent(**self._common(decided_s), gap_s=round(gap_s, 3)))

    def state(self, state: SessionState, *, code: FailureCode | None = None, detail: str | None = None) -> None:
        """The session enters a state, at its present position."""
        event = state_event(self.record, state, time=datetime.now(UTC), code=code, detail=detail)
        self.update(state=state, code=code, detail=detail)
        self._append(event)

    @property
    def is_full(self) -> bool:
        """Whether more waits than the session should go on with."""
        return len(self._events) >= MAX_EVENTS or len(self._scores) >= MAX_SCORES

    def take(self) -> Unsaved:
        """All that was told since the last time, to be written or put back."""
        update = SessionUpdate.model_validate({name: getattr(self.record, name) for name in self._changed})
        unsaved = Unsaved(self._events, self._scores, update)
        self._changed, self._events, self._scores = set(), [], []
        return unsaved

    def put_back(self, unsaved: Unsaved) -> None:
        """It could not be written: it goes with what was told since."""
        self._changed |= unsaved.update.model_fields_set
        self._events = unsaved.events + self._events
        self._scores = unsaved.scores + self._scores

    async def write(self, unsaved: Unsaved, checkpoint: Checkpoint | None) -> None:
        """Commit it with the checkpoint that follows, in one transaction.

        Raises LeaseLost, StoreUnavailable, StorageFull, NotFound.
        """
        began_unix_s = time.time()
        with self._metrics.commit_seconds.time():
            await self._store.commit(
                self.record.id,
                self.record.token,
                events=unsaved.events,
                checkpoint=checkpoint,
                update=unsaved.update,
                scores=unsaved.scores,
            )
        for event in unsaved.events:
            self._metrics.events.labels(event.type).inc()
            if event.id in self._spans:
                self._spans.pop(event.id).committed(began_unix_s)
        self._metrics.frames.labels(self.record.model).inc(len(unsaved.scores))

    def _append(self, event: Event) -> None:
        self._events.append(event)
        self.record = self.record.model_copy(update={"last_event_id": event.id})

    def _common(self, decided_s: float) -> _Common:
        return {
            "id": next_event_id(self.record.last_event_id, decided_s),
            "session_id": self.record.id,
            "decided_s": round(decided_s, 3),
            "time": datetime.now(UTC),
            "model": self.record.model,
            "model_version": self.record.model_version,
            "traceparent": None,
        }
