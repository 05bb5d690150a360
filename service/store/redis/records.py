"""The form of sessions, events, scores and resume points in Redis."""

import itertools
import json
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic_core import to_json

from service.event_schemas import Event, event_key
from service.store.reading import dump_event, parse_session, stored_session, stored_update
from service.store.records import DetectorSnapshot, ResumePoint, ScoreRow, SessionRecord, SessionUpdate

Argument = str | bytes | int | float
"""An argument of a script."""
INTERNAL = b"_"
"""First letter of a session's fields that only the scripts use, such as its place in the queue and its worker."""
LOG_MAX = 100_000
"""Newest events of all sessions that the common log keeps."""


@dataclass(frozen=True)
class Retained:
    """What Redis keeps of each session: the newest `events_max` events, and media time of events and scores."""

    events_max: int
    events_keep_s: float
    scores_keep_s: float


def fields_of(record: SessionRecord | SessionUpdate) -> list[str | bytes]:
    """Names and values alternately, each value as JSON; for an update, only the fields that it sets."""
    fields = stored_update(record) if isinstance(record, SessionUpdate) else stored_session(record)
    return [text for name, value in fields.items() for text in (name, to_json(value))]


def record_of(fields: Mapping[bytes, bytes]) -> SessionRecord:
    """A session from its hash. Raises ValueError."""
    own = ((name, value) for name, value in fields.items() if not name.startswith(INTERNAL))
    return parse_session(b"{" + b",".join(b'"%b":%b' % field for field in own) + b"}")


def stream_id(event_id: str) -> str:
    """An event's id in its Redis stream. Redis has no id 0-0, so the second number is one higher."""
    media_ms, seq = event_key(event_id)
    return f"{media_ms}-{seq + 1}"


def event_argument(event: Event) -> str:
    """An event as the scripts take it: the fields that version 0.1 knows, and the others, if any, in a second line."""
    known, others = dump_event(event)
    return known if others is None else f"{known}\n{others}"


def event_arguments(events: Iterable[Event]) -> list[Argument]:
    """Arguments of the script `commit`: the number of events, then of each its stream id, its own id and its JSON."""
    rows: list[list[Argument]] = [[stream_id(event.id), event.id, event_argument(event)] for event in events]
    return [len(rows), *itertools.chain.from_iterable(rows)]


def score_arguments(scores: Iterable[ScoreRow]) -> list[Argument]:
    """Arguments of the script `commit`: the number of frames, then of each its stream id and its scores."""
    rows: list[list[Argument]] = [[score_id(row.pts_s), pack_scores(row)] for row in scores]
    return [len(rows), *itertools.chain.from_iterable(rows)]


def update_arguments(update: SessionUpdate | None) -> list[Argument]:
    """Arguments of the script `commit`: the number of fields, then the name and value of each."""
    fields = [] if update is None else fields_of(update)
    return [len(fields) // 2, *fields]


def resume_point_arguments(point: ResumePoint | None) -> list[Argument]:
    """Arguments of the script `commit`: whether there is a resume point, then its parts."""
    if point is None:
        return [0]
    snapshot: list[Argument] = [0] if point.detector is None else [1, point.detector.position_s, point.detector.state]
    return [1, point.position_s, to_json(point.starts), point.frames, *snapshot]


def resume_point_of(fields: Mapping[bytes, bytes]) -> ResumePoint:
    """A resume point from its hash. Raises ValueError, KeyError."""
    position_s, state = float(fields[b"position_s"]), fields.get(b"detector")
    # Older versions always wrote the snapshot, taken at the resume point's own position.
    snapshot_s = float(fields.get(b"detector_position_s", position_s))
    snapshot = None if state is None else DetectorSnapshot(snapshot_s, state)
    return ResumePoint(position_s, json.loads(fields[b"starts"]), int(fields[b"frames"]), snapshot)


def score_id(pts_s: float) -> str:
    """A frame's id in the stream of scores: its media time in microseconds."""
    return f"{round(pts_s * 1e6)}-1"


def pack_scores(row: ScoreRow) -> bytes:
    """The media time as a double, then the scores as floats."""
    return array("d", [row.pts_s]).tobytes() + array("f", row.scores).tobytes()


def unpack_scores(packed: bytes) -> ScoreRow:
    """The inverse of `pack_scores`. Raises ValueError."""
    (pts_s,) = array("d", packed[:8])
    return ScoreRow(pts_s, array("f", packed[8:]).tolist())
