"""Events of a session as CSV, JSON lines, ActivityNet annotations or WebVTT."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass

from service.event_schemas import EVENT, Event
from service.store.records import SessionRecord

CSV_COLUMNS = (
    *("id", "type", "time", "name", "region", "label", "score", "start_s", "end_s", "start_time", "decided_s"),
    *("state", "code", "detail", "gap_s", "model", "model_version", "rules_hash"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Action:
    """An action in a session, from `start_s` to `end_s` of media time."""

    region: str | None
    label: str
    score: float
    start_s: float
    end_s: float


def csv_header() -> str:
    """The first line."""
    return _csv_lines([CSV_COLUMNS])


def csv_rows(events: Iterable[Event]) -> str:
    """A line for each event; fields that an event lacks are empty."""
    rows = ([_cell(event.get(column)) for column in CSV_COLUMNS] for event in _dumped(events))
    return _csv_lines(rows)


def json_lines(events: Iterable[Event]) -> str:
    """A line for each event, as pages have them."""
    return "".join(f"{EVENT.dump_json(event).decode()}\n" for event in events)


def actions_of(events: Iterable[Event], *, until_s: float) -> list[Action]:
    """The actions, by their start; one that has not ended lasts until `until_s`."""
    open_actions: dict[tuple[str | None, str], Action] = {}
    found: list[Action] = []
    for event in events:
        if event.type == "action.start":
            start = Action(event.region, event.label, event.score, event.start_s, max(until_s, event.start_s))
            open_actions[event.region, event.label] = start
        elif event.type == "action.end":
            open_actions.pop((event.region, event.label), None)
            found.append(Action(event.region, event.label, event.score, event.start_s, event.end_s))
    return sorted([*found, *open_actions.values()], key=lambda action: action.start_s)


def activitynet(record: SessionRecord, actions: Iterable[Action]) -> str:
    """The session as an annotation file with one video, named after the session."""
    duration_s = record.position_s if record.video is None else record.video.duration_s or record.position_s
    annotations = [
        {"label": action.label, "segment": [action.start_s, action.end_s]}
        for action in actions
        if action.end_s > action.start_s
    ]
    video = {"subset": "testing", "duration": duration_s, "annotations": annotations}
    return json.dumps({"version": "CAKE", "database": {record.id: video}}) + "\n"


def webvtt(actions: Iterable[Action]) -> str:
    """Cues that a player shows while an action lasts."""
    cues = [
        f"{_clock(action.start_s)} --> {_clock(max(action.end_s, action.start_s + 0.001))}\n{_caption(action)}\n"
        for action in actions
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _dumped(events: Iterable[Event]) -> Iterable[dict[str, object]]:
    return (event.model_dump(mode="json") for event in events)


def _cell(value: object) -> object:
    """Spreadsheets would run a text that begins like a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _csv_lines(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _clock(at_s: float) -> str:
    at_ms = round(at_s * 1000)
    minutes, ms = divmod(at_ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}.{ms % 1000:03}"


def _caption(action: Action) -> str:
    where = "" if action.region is None else f"{action.region}: "
    text = " ".join(f"{where}{action.label} {action.score:.0%}".split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
