"""How sessions, events and scores look in Redis."""

import itertools
import json
from array import array
from collections.abc import Iterable, Mapping

from service.schemas import EVENT, Event, event_key
from service.store.base import ScoreRow, SessionRecord, SessionUpdate
from service.store.checkpoint import Checkpoint, Remembered

Argument = str | bytes | int | float
"""Of a script."""
INTERNAL = b"_"
"""First letter of a session's fields that belong to the store: its place in queue, who has it."""


def fields_of(record: SessionRecord | SessionUpdate) -> list[str]:
    """Names and values, one after the other, each value as JSON; of an update those that it sets."""
    dumped = record.model_dump(mode="json", exclude_unset=isinstance(record, SessionUpdate))
    return [text for name, value in dumped.items() for text in (name, json.dumps(value))]


def record_of(fields: Mapping[bytes, bytes]) -> SessionRecord:
    """A session as its hash holds it."""
    own = ((name, value) for name, value in fields.items() if not name.startswith(INTERNAL))
    return SessionRecord.model_validate_json(b"{" + b",".join(b'"%b":%b' % field for field in own) + b"}")


def stream_id(event_id: str) -> str:
    """An event's id in its stream, in the same order: Redis has no id 0-0, so the second number is one higher."""
    media_ms, seq = event_key(event_id)
    return f"{media_ms}-{seq + 1}"


def event_arguments(events: Iterable[Event]) -> list[Argument]:
    """For the script `commit`: how many, then for each its id in the stream, its own, and its JSON."""
    rows: list[list[Argument]] = [[stream_id(event.id), event.id, EVENT.dump_json(event)] for event in events]
    return [len(rows), *itertools.chain.from_iterable(rows)]


def score_arguments(scores: Iterable[ScoreRow]) -> list[Argument]:
    """For the script `commit`: how many frames, then for each its id in the stream and its scores."""
    rows: list[list[Argument]] = [[score_id(row.pts_s), pack_scores(row)] for row in scores]
    return [len(rows), *itertools.chain.from_iterable(rows)]


def update_arguments(update: SessionUpdate | None) -> list[Argument]:
    """For the script `commit`: how many fields, then the name and the value of each."""
    fields = [] if update is None else fields_of(update)
    return [len(fields) // 2, *fields]


def checkpoint_arguments(checkpoint: Checkpoint | None) -> list[Argument]:
    """For the script `commit`: whether there is one, then its parts."""
    if checkpoint is None:
        return [0]
    detector = checkpoint.detector
    remembered: list[Argument] = [0] if detector is None else [1, detector.position_s, detector.state]
    return [1, checkpoint.position_s, json.dumps(checkpoint.starts), checkpoint.frames, *remembered]


def checkpoint_of(fields: Mapping[bytes, bytes]) -> Checkpoint:
    """A checkpoint as its hash holds it."""
    position_s, state = float(fields[b"position_s"]), fields.get(b"detector")
    # Those of older versions always had a state, of their own position.
    remembered = None if state is None else Remembered(float(fields.get(b"detector_position_s", position_s)), state)
    return Checkpoint(position_s, json.loads(fields[b"starts"]), int(fields[b"frames"]), remembered)


def score_id(pts_s: float) -> str:
    """A frame's id in the stream of scores: microseconds of media time."""
    return f"{round(pts_s * 1e6)}-1"


def pack_scores(row: ScoreRow) -> bytes:
    return array("d", [row.pts_s]).tobytes() + array("f", row.scores).tobytes()


def unpack_scores(packed: bytes) -> ScoreRow:
    (pts_s,) = array("d", packed[:8])
    return ScoreRow(pts_s, array("f", packed[8:]).tolist())
