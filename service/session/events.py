"""Creates a session's events, numbers them, and buffers them with its scores until the next commit."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from model.config import StartRule, rules_hash
from model.thresholds import ActionStart
from service.event_schemas import (
    ActionEndEvent,
    ActionStartEvent,
    Event,
    EventMediaEvent,
    Latency,
    SessionChangedEvent,
    SessionGapEvent,
)
from service.observability.telemetry import WorkerMetrics
from service.observability.tracing import EventSpan
from service.schemas import FailureCode, Rule, SessionState
from service.session.detection import Decided, FrameResult
from service.store.records import EventFields, ScoreRow, SessionRecord, SessionUpdate, event_fields, state_event
from service.store.state_log import log_state

# The buffer's limits while the store is unavailable: more than ten minutes of a camera at 10 frames per second.
MAX_EVENTS, MAX_SCORES = 10_000, 10_000

# A camera that loses at least this many frames and this share of its frames gets a warning; a short burst does not.
MANY_DROPPED, DROPPED_SHARE = 300, 0.1
FALLS_BEHIND = (
    "More than a tenth of the frames were dropped, as this machine is too busy to analyse them: actions may be missed"
    " or dated late. Run fewer cameras here, or add a worker."
)


@dataclass(frozen=True)
class Uncommitted:
    """What has not been committed to the store yet."""

    events: list[Event]
    scores: list[ScoreRow]
    update: SessionUpdate


@dataclass(frozen=True)
class Media:
    """A stored clip: its action start, its media times, and why it is incomplete, if it is."""

    start: ActionStartEvent
    from_s: float
    to_s: float
    size_bytes: int
    problem: str | None


class EventBuffer:
    """One session's events, scores and changed fields since the last commit.

    `record` is the session as it will be after the next commit. Event ids are derived from media time and from the
    newest id, which the store returns after a crash, so an event that is created again gets the same id.
    """

    def __init__(self, record: SessionRecord, metrics: WorkerMetrics) -> None:
        self.record = record
        self._metrics = metrics
        self._changed: set[str] = set()
        self._events: list[Event] = []
        self._scores: list[ScoreRow] = []
        self._arrived_s, self._arrived_unix_s = 0.0, 0.0
        """Media time and arrival of the newest frame."""
        self.lag_s = 0.0
        """How old the newest frame was when its scores were available."""
        self._latency = Latency(decode=0.0, queue=0.0, infer=0.0, total=0.0)
        self._spans: dict[str, EventSpan] = {}
        """Spans of uncommitted events, by event id."""

    @property
    def has_events(self) -> bool:
        """Whether events wait for the next commit."""
        return bool(self._events)

    @property
    def is_full(self) -> bool:
        """Whether the session must wait for a commit before it continues."""
        return len(self._events) >= MAX_EVENTS or len(self._scores) >= MAX_SCORES

    def update(self, **fields: object) -> None:
        """Change fields of the session; names as in SessionUpdate."""
        self.record = self.record.model_copy(update=fields)
        self._changed |= fields.keys()

    def add_frame(self, result: FrameResult) -> list[ActionStartEvent]:
        """Add an analysed frame: its scores, and the events that it decided. Returns the starts among them."""
        before, frame = len(self._events), result.frame
        self._arrived_s, self._arrived_unix_s = frame.pts_s, frame.arrived_unix_s
        self.lag_s = max(0.0, time.time() - frame.arrived_unix_s)
        self._latency = Latency(decode=frame.decode_s, queue=result.queue_s, infer=result.infer_s, total=0.0)
        self._metrics.decode_seconds.observe(frame.decode_s)
        self.add_actions(result.ended_by_gap)
        if result.gap_s is not None:
            self.add_gap(frame.pts_s, result.gap_s)
        arrived_at = datetime.fromtimestamp(frame.arrived_unix_s, UTC)
        self.update(position_s=frame.pts_s, frames=self.record.frames + 1, last_frame_at=arrived_at)
        self._scores.append(ScoreRow(frame.pts_s, result.scores))
        record = self.record
        self._metrics.scores.observe(record.model, record.model_key, record.score_labels, result.scores)
        self.add_actions(result.decided)
        return [event for event in self._events[before:] if isinstance(event, ActionStartEvent)]

    def count_dropped(self, frames: Mapping[str, int]) -> None:
        """Count frames of a live source that are not analysed, by reason."""
        for reason, count in frames.items():
            self._metrics.dropped.labels(reason).inc(count)
        record = self.record
        dropped = record.dropped_frames + sum(frames.values())
        self.update(dropped_frames=dropped)
        is_behind = dropped >= MANY_DROPPED and dropped > DROPPED_SHARE * (dropped + record.frames)
        if is_behind and FALLS_BEHIND not in record.warnings:
            self.update(warnings=(*record.warnings, FALLS_BEHIND))

    def count_reconnect(self) -> None:
        """Count an attempt to connect to the source again."""
        self._metrics.reconnects.inc()
        self.update(reconnects=self.record.reconnects + 1)

    def add_actions(self, decided: Iterable[Decided]) -> None:
        """Add the starts and ends that the newest frame decided."""
        for each in decided:
            self._add_action(each)

    def add_gap(self, decided_s: float, gap_s: float) -> None:
        """Add a gap: the `gap_s` seconds before `decided_s` were not analysed, and detection restarted."""
        self._append(SessionGapEvent(**self._fields(decided_s), gap_s=round(gap_s, 3)))

    def add_media(self, media: Media) -> None:
        """Publish that a clip is available."""
        start = media.start
        self._append(
            EventMediaEvent(
                **self._fields(self.record.position_s),
                event_id=start.id,
                label=start.label,
                region=start.region,
                start_s=start.start_s,
                from_s=round(media.from_s, 3),
                to_s=round(media.to_s, 3),
                size_bytes=media.size_bytes,
                complete=media.problem is None,
                problem=media.problem,
            )
        )

    def decide_by(self, rules: Mapping[str, StartRule]) -> None:
        """Note the rules that apply from now on."""
        found, fingerprint = {label: Rule(**asdict(rule)) for label, rule in rules.items()}, rules_hash(rules)
        if (self.record.start_rules, self.record.rules_hash) != (found, fingerprint):
            self.update(start_rules=found, rules_hash=fingerprint)

    def add_change(self, wanted: SessionRecord) -> None:
        """Publish a change of the session's settings that is already in the store."""
        names = ("name", "metadata", "labels", "columns", "rules", "revision", "model_version", "is_version_pinned")
        self.record = self.record.model_copy(update={name: getattr(wanted, name) for name in names})
        self.update(applied_revision=wanted.revision)
        fields = self._fields(self.record.position_s)
        self._append(
            SessionChangedEvent(**fields, labels=list(self.record.labels), start_rules=self.record.start_rules)
        )

    def enter_state(self, state: SessionState, *, code: FailureCode | None = None, detail: str | None = None) -> None:
        """Change the session's state, at its current position."""
        record = self.record
        event = state_event(record, state, time=datetime.now(UTC), code=code, detail=detail)
        self.update(state=state, code=code, detail=detail)
        self._append(event)
        log_state(self.record)

    def take(self) -> Uncommitted:
        """Remove everything from the buffer, to commit it."""
        update = SessionUpdate.model_validate({name: getattr(self.record, name) for name in self._changed})
        taken = Uncommitted(self._events, self._scores, update)
        self._changed, self._events, self._scores = set(), [], []
        return taken

    def put_back(self, taken: Uncommitted) -> None:
        """Put back what could not be committed, before what was added since."""
        self._changed |= taken.update.model_fields_set
        self._events = taken.events + self._events
        self._scores = taken.scores + self._scores

    def committed(self, taken: Uncommitted, *, began_unix_s: float) -> None:
        """Count what was committed, and end the spans of its events."""
        for event in taken.events:
            label = event.label if event.type in ("action.start", "action.end") else ""
            self._metrics.events.labels(event.type, event.model, label).inc()
            if event.id in self._spans:
                self._spans.pop(event.id).committed(began_unix_s)
        self._metrics.frames.labels(self.record.model).inc(len(taken.scores))

    def _add_action(self, decided: Decided) -> None:
        action, region = decided.action, decided.region
        parts_s = self._latency.model_dump()
        total_s = max(0.0, time.time() - self._arrived_unix_s)
        latency = Latency(**{part: round(s, 6) for part, s in {**parts_s, "total": total_s}.items()})
        del parts_s["total"]
        span = EventSpan(
            self.record.traceparent,
            self._arrived_unix_s,
            parts_s,
            {"cake.session": self.record.id, "cake.model": self.record.model, "cake.label": action.label}
            | ({} if region is None else {"cake.region": region}),
        )
        known = {
            "region": region,
            "label": action.label,
            "score": round(action.score, 4),
            "start_s": round(action.start_s, 3),
            "start_time": self._wall_clock(action.start_s),
            "latency_s": latency,
            "traceparent": span.traceparent,
            **self._fields(action.decided_s),
        }
        event: Event
        if isinstance(action, ActionStart):
            event = ActionStartEvent.model_validate(known)
        else:
            event = ActionEndEvent.model_validate({**known, "end_s": round(action.end_s, 3)})
        self._append(event)
        self.update(last_action_at=event.time)
        self._spans[event.id] = span
        self._metrics.event_seconds.observe(total_s)

    def _append(self, event: Event) -> None:
        self._events.append(event)
        self.record = self.record.model_copy(update={"last_event_id": event.id})

    def _fields(self, decided_s: float) -> EventFields:
        return event_fields(self.record, decided_s, time=datetime.now(UTC))

    def _wall_clock(self, at_s: float) -> datetime | None:
        """When the frame at media time `at_s` of a live source arrived, from the arrival of the newest one."""
        if self.record.video is None or not self.record.video.live:
            return None
        return datetime.fromtimestamp(self._arrived_unix_s - (self._arrived_s - at_s), UTC)
