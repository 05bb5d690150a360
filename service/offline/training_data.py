"""Judged events as training data: clips from a server, in ActivityNet's layout.

    videos/SESSION_EVENT.mp4   annotations.json

Each clip shows the surroundings of one judged event. Right and missed actions are labelled, wrong ones are background,
and actions without a verdict are ambiguous, so that they count neither way.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cake_client import ActionEnd, ActionStart, CakeError, Client, Clip, Feedback, Session
from model.atomic import write_atomically, write_text_atomically
from model.training.layouts.annotations import ANNOTATIONS_FILE
from model.training.layouts.segments import AMBIGUOUS
from model.video.errors import VideoError
from model.video.file_reader import open_video

UNKNOWN_LENGTH_S = 1.0
"""How much of an action without an end is labelled; what follows is ambiguous."""
VALIDATION_EVERY = 5
Segment = tuple[float, float, str]


@dataclass
class Exported:
    """What `export_training_data` wrote."""

    clips: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Judged events without a usable clip, with the reason."""


@dataclass(frozen=True)
class _Action:
    id: str
    label: str
    region: str | None
    start_s: float
    end_s: float | None
    verdict: str | None


@dataclass(frozen=True)
class _LabelledClip:
    name: str
    session_id: str
    judged: _Action
    entry: dict[str, object]


def export_training_data(
    client: Client, session_ids: Iterable[str], out_dir: Path, on_clip: Callable[[str], None]
) -> Exported:
    """Write the judged events of these sessions; `on_clip` gets the name of each clip.

    One of every five sessions is for validation, the others for training; of a single session, one of every five clips.

    Raises:
        CakeError: the server refuses or cannot be reached.
        OSError: a file cannot be written.
    """
    exported = Exported()
    clips: list[_LabelledClip] = []
    (out_dir / "videos").mkdir(parents=True, exist_ok=True)
    for session_id in dict.fromkeys(session_ids):
        session = client.session(session_id)
        actions = _actions(client, session_id)
        for action in actions:
            if action.verdict not in ("right", "wrong"):
                continue
            name = f"{session_id}_{action.id}"
            try:
                clip = client.clip(session_id, action.id)
                duration_s = _write(out_dir / "videos" / f"{name}.mp4", clip)
            except (CakeError, VideoError) as error:
                exported.skipped[name] = str(error)
                continue
            entry = _entry(session, action, actions, clip.from_s, duration_s)
            clips.append(_LabelledClip(name, session_id, action, entry))
            on_clip(name)
    exported.clips = len(clips)
    _write_annotations(out_dir, clips)
    return exported


def _actions(client: Client, session_id: str) -> list[_Action]:
    """Events and missed actions, each with its verdict."""
    given = {each.id: each for each in client.feedback(session_id)}
    starts: list[ActionStart] = []
    ends: dict[tuple[str, str | None, float], ActionEnd] = {}
    after: str | None = None
    while (page := client.events(session_id, after=after)).events:
        for event in page.events:
            if isinstance(event, ActionStart):
                starts.append(event)
            elif isinstance(event, ActionEnd):
                ends[event.label, event.region, event.start_s] = event
        after = page.next
    actions = [_of_start(start, ends.get((start.label, start.region, start.start_s)), given) for start in starts]
    missed = [each for each in given.values() if each.verdict == "missed"]
    return actions + [_Action(each.id, each.label, each.region, each.start_s, each.end_s, "missed") for each in missed]


def _of_start(start: ActionStart, end: ActionEnd | None, given: dict[str, Feedback]) -> _Action:
    """A verdict may name the start or the end."""
    feedback = given.get(start.id) or (given.get(end.id) if end else None)
    end_s = None if end is None else end.end_s
    return _Action(start.id, start.label, start.region, start.start_s, end_s, feedback.verdict if feedback else None)


def _write(path: Path, clip: Clip) -> float:
    """Returns the duration. Raises VideoError when the clip does not decode."""
    with write_atomically(path) as partial:
        partial.write_bytes(clip.data)
        with open_video(partial) as video:
            times_s = [frame.pts_s for frame in video.frames()]
            rate_hz = video.info.rate_hz or 25.0
    return round(times_s[-1] + 1 / rate_hz, 3)


def _entry(
    session: Session, judged: _Action, actions: Sequence[_Action], from_s: float, duration_s: float
) -> dict[str, object]:
    """In ActivityNet's form, in the clip's own time."""
    shown = [action for action in actions if action.region == judged.region]
    segments = [segment for action in shown for segment in _segments(action, from_s, duration_s)]
    entry: dict[str, object] = {
        "duration": duration_s,
        "annotations": [{"segment": [start_s, end_s], "label": label} for start_s, end_s, label in sorted(segments)],
    }
    regions = [each for each in session.regions if each.name == judged.region]
    if regions:
        entry["region"] = [regions[0].x, regions[0].y, regions[0].width, regions[0].height]
    return entry


def _segments(action: _Action, from_s: float, duration_s: float) -> list[Segment]:
    """The parts of an action that the clip shows."""
    if action.verdict == "wrong":
        return []
    label = AMBIGUOUS if action.verdict is None else action.label
    if action.end_s is not None:
        parts = [(action.start_s, action.end_s, label)]
    else:
        known_until_s = action.start_s + UNKNOWN_LENGTH_S
        parts = [(action.start_s, known_until_s, label), (known_until_s, from_s + duration_s, AMBIGUOUS)]
    shown = [(max(0.0, start_s - from_s), min(duration_s, end_s - from_s), kind) for start_s, end_s, kind in parts]
    return [(round(start_s, 3), round(end_s, 3), kind) for start_s, end_s, kind in shown if end_s - start_s > 0.001]


def _write_annotations(out_dir: Path, clips: Sequence[_LabelledClip]) -> None:
    ordered = sorted(clips, key=lambda clip: (clip.judged.label, clip.judged.verdict or "", clip.name))
    sessions = list(dict.fromkeys(clip.session_id for clip in ordered))
    # Recordings of one camera stay together; of a single session some clips have to be taken.
    groups = [clip.name for clip in ordered] if len(sessions) == 1 else sessions
    validation = set(groups[1::VALIDATION_EVERY])
    database = {
        clip.name: {
            "subset": "validation" if {clip.name, clip.session_id} & validation else "training",
            **clip.entry,
        }
        for clip in ordered
    }
    content = {"version": "CAKE feedback 1", "database": database}
    write_text_atomically(out_dir / ANNOTATIONS_FILE, json.dumps(content, indent=1))
