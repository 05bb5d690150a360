"""Judged events as training data: clips from a server, in ActivityNet's layout.

    videos/SESSION_EVENT.mp4   annotations.json

Each clip shows the surroundings of one judged event or missed action. Right and missed actions are labelled, wrong ones
are background, and actions without a verdict are ambiguous, so that they count neither way.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cake_client import ActionEnd, ActionStart, CakeError, Client, Clip, Feedback, Region, Session
from model.atomic import write_atomically, write_text_atomically
from model.training.layouts.annotations import ANNOTATIONS_FILE
from model.training.layouts.segments import AMBIGUOUS
from model.video.errors import VideoError
from model.video.file_reader import open_video

UNKNOWN_LENGTH_S = 1.0
"""How much of an action without an end is labelled; the rest is ambiguous."""
VALIDATION_EVERY = 5
BEFORE_S, CLIP_S = 5.0, 15.0
"""A clip of an upload begins this long before the start, earlier near the end of the video, and lasts this long if the
video is long enough: training uses sequences of 12.8 s.
"""
Segment = tuple[float, float, str]


@dataclass
class Exported:
    """What `export_training_data` wrote."""

    clips: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Judged events and missed actions without a usable clip, with the reason."""
    missed_without_clip: int = 0
    """How many of `skipped` are missed actions."""
    has_validation: bool = False
    """Whether some of the clips are for validation, which training needs."""


@dataclass(frozen=True)
class _Action:
    id: str
    label: str
    region: str | None
    start_s: float
    end_s: float | None
    verdict: str | None


@dataclass(frozen=True)
class _Entry:
    """The annotations of a clip, in its own time."""

    duration_s: float
    segments: tuple[Segment, ...]
    region: Region | None

    @property
    def labels(self) -> set[str]:
        return {label for _, _, label in self.segments} - {AMBIGUOUS}

    def to_json(self) -> dict[str, object]:
        """In ActivityNet's form."""
        annotations = [{"segment": [start_s, end_s], "label": label} for start_s, end_s, label in self.segments]
        entry: dict[str, object] = {"duration": self.duration_s, "annotations": annotations}
        if self.region is not None:
            entry["region"] = [self.region.x, self.region.y, self.region.width, self.region.height]
        return entry


@dataclass(frozen=True)
class _LabelledClip:
    name: str
    session_id: str
    judged: _Action
    from_s: float
    entry: _Entry

    def shows(self, action: _Action) -> bool:
        return (
            action.region == self.judged.region and self.from_s <= action.start_s < self.from_s + self.entry.duration_s
        )


def export_training_data(
    client: Client, session_ids: Iterable[str], out_dir: Path, on_clip: Callable[[str], None]
) -> Exported:
    """Write the judged events of these sessions; `on_clip` gets the name of each clip.

    One of every five sessions is for validation, the others are for training; with a single session, one of every five
    clips. The last examples of a label stay in training.

    Raises:
        CakeError: the server refuses or cannot be reached.
        OSError: a file cannot be written.
    """
    exported = Exported()
    clips: list[_LabelledClip] = []
    (out_dir / "videos").mkdir(parents=True, exist_ok=True)
    for session_id in dict.fromkeys(session_ids):
        session = client.session(session_id)
        found = _clips_of(client, session, out_dir, exported)
        for clip in found:
            on_clip(clip.name)
        clips += found
    exported.clips = len(clips)
    validation = _for_validation(clips)
    exported.has_validation = bool(validation)
    _write_annotations(out_dir, clips, validation)
    return exported


def _clips_of(client: Client, session: Session, out_dir: Path, exported: Exported) -> list[_LabelledClip]:
    """Write the clips of a session's judged actions; note in `exported` those without one."""
    clips: list[_LabelledClip] = []
    without: list[tuple[str, _Action, str]] = []
    actions = _actions(client, session.id)
    for action in actions:
        if action.verdict is None:
            continue
        name = f"{session.id}_{action.id}"
        try:
            clip = _clip_of(client, session, action)
            duration_s = _write(out_dir / "videos" / f"{name}.mp4", clip)
        except (CakeError, VideoError) as error:
            without.append((name, action, str(error)))
            continue
        entry = _entry(session, action, actions, clip.from_s, duration_s)
        clips.append(_LabelledClip(name, session.id, action, clip.from_s, entry))
    for name, action, reason in without:
        is_missed = action.verdict == "missed"
        # No clip is stored of a missed action, but the clip of another action may show it.
        if not (is_missed and any(clip.shows(action) for clip in clips)):
            exported.skipped[name] = reason
            exported.missed_without_clip += is_missed
    return clips


def _clip_of(client: Client, session: Session, action: _Action) -> Clip:
    """Raises CakeError."""
    get = client.missed_clip if action.verdict == "missed" else client.clip
    if session.source.kind != "upload":
        return get(session.id, action.id)
    until_end_s = max(0.0, session.position_s - action.start_s)
    before_s = min(action.start_s, max(BEFORE_S, CLIP_S - until_end_s))
    return get(session.id, action.id, before_s=before_s, after_s=CLIP_S - min(before_s, BEFORE_S))


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


def _entry(session: Session, judged: _Action, actions: Sequence[_Action], from_s: float, duration_s: float) -> _Entry:
    shown = [action for action in actions if action.region == judged.region]
    segments = [segment for action in shown for segment in _segments(action, from_s, duration_s)]
    regions = [each for each in session.regions if each.name == judged.region]
    return _Entry(duration_s, tuple(sorted(segments)), regions[0] if regions else None)


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


def _for_validation(clips: Sequence[_LabelledClip]) -> set[str]:
    """Names of the clips for validation: every fifth group, or another one without which each label has examples."""
    ordered = sorted(clips, key=lambda clip: (clip.judged.label, clip.judged.verdict or "", clip.name))
    is_one_session = len({clip.session_id for clip in ordered}) == 1
    groups: dict[str, list[_LabelledClip]] = {}
    for clip in ordered:
        # Recordings of one camera stay together; with a single session, some of its clips must be taken.
        groups.setdefault(clip.name if is_one_session else clip.session_id, []).append(clip)
    examples = {name: Counter(label for clip in group for label in clip.entry.labels) for name, group in groups.items()}
    left = sum(examples.values(), Counter[str]())
    names = list(groups)
    wanted = len(names[1::VALIDATION_EVERY])
    validation: set[str] = set()
    for name in [*names[1::VALIDATION_EVERY], *names]:
        is_new = name not in validation and len(validation) < wanted
        if is_new and all(left[label] > count for label, count in examples[name].items()):
            validation.add(name)
            left -= examples[name]
    return {clip.name for name in validation for clip in groups[name]}


def _write_annotations(out_dir: Path, clips: Sequence[_LabelledClip], validation: set[str]) -> None:
    database = {
        clip.name: {"subset": "validation" if clip.name in validation else "training", **clip.entry.to_json()}
        for clip in sorted(clips, key=lambda clip: clip.name)
    }
    content = {"version": "CAKE feedback 1", "database": database}
    write_text_atomically(out_dir / ANNOTATIONS_FILE, json.dumps(content, indent=1))
