"""PeopleStreams: untrimmed everyday video of people, some of whom fall or fight, with the field's annotation file.

    videos/people_1_00000.mp4   annotations.json   targets/people_1_00000.npz   streams/people_1_00000.json

`streams/` records what is complete, so that an interrupted run can resume. A folder may hold several seeds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from model.atomic import write_text_atomically
from model.training.mocap.labels import ACTIONS
from model.training.mocap.render_pool import write_in_processes
from model.training.people.stream import PeopleSpec, write_people_stream

_VERSION = "PeopleStreams 1"
_LEAST_STREAMS = 5


def write_people_streams(
    out_dir: Path,
    *,
    minutes: float,
    seed: int,
    stream_s: float = 40.0,
    fps: int | None = None,
    everyday: bool = False,
    targets: bool = False,
    subset: str | None = None,
    scale: int = 1,
    look_alikes: bool = False,
    activities: bool = False,
    workers: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes `minutes` of streams of `stream_s` seconds each, at least one, in `workers` processes.

    A stream depends on its number and the parameters, not on `workers`. Streams of an earlier run with the same
    parameters are kept. `fps` is drawn for each stream when it is None. `everyday`: no one falls or fights. `subset`
    puts all streams in one subset; without it about 12 % are "validation" and the others "training". `targets` adds the
    renderer's data about each frame. `scale` enlarges the frames without changing their content. `look_alikes`: more
    activities that are easily mistaken for a fall or a fight. `activities` labels everyday activities as well (see
    `_label_activities`); it changes the annotations of the whole folder, not the videos. `on_progress` gets the numbers
    of complete streams and of all.

    Raises ValueError for such parameters, and RenderError when a stream cannot be written.
    """
    if stream_s < 5:
        raise ValueError(f"stream_s must be at least 5 seconds, not {stream_s:g}")
    if fps is not None and not 1 <= fps <= 60:
        raise ValueError(f"fps must be from 1 to 60, not {fps}")
    specs = [
        PeopleSpec(seed, index, stream_s, fps, everyday, targets, subset, scale, look_alikes)
        for index in range(max(1, round(minutes * 60 / stream_s)))
    ]
    for folder in ("videos", "streams", *(["targets"] if targets else [])):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    missing = [spec for spec in specs if not _is_written(out_dir, spec)]
    report = on_progress or (lambda done, total: None)
    report(len(specs) - len(missing), len(specs))
    if missing:
        write_in_processes(
            partial(write_people_stream, out_dir), missing, workers, lambda left: report(len(specs) - left, len(specs))
        )
    _write_annotations(out_dir, activities)


def _is_written(out_dir: Path, spec: PeopleSpec) -> bool:
    note = out_dir / "streams" / f"{spec.name}.json"
    return note.exists() and PeopleSpec(**json.loads(note.read_text())["spec"]) == spec


def _write_annotations(out_dir: Path, activities: bool) -> None:
    notes = sorted((out_dir / "streams").glob("*.json"))
    database = {note.stem: json.loads(note.read_text())["entry"] for note in notes}
    if activities:
        _label_activities(list(database.values()))
    content = {"version": _VERSION, "database": database}
    write_text_atomically(out_dir / "annotations.json", json.dumps(content, indent=1))


def _label_activities(entries: Sequence[dict[str, Any]]) -> None:
    """Make people's other activities labels too, so that a network can learn from everyday life as from the labels of a
    set such as Kinetics: those in at least `_LEAST_STREAMS` training streams. Actions of MocapStreams stay background,
    so that these remain new to such a network.
    """
    streams = Counter(
        label
        for entry in entries
        if entry["subset"] == "training"
        for label in {other["label"] for other in entry["also"] if "actor" in other}
    )
    learnable = {label for label, count in streams.items() if count >= _LEAST_STREAMS} - set(ACTIONS)
    for entry in entries:
        entry["annotations"] += [
            {"segment": other["segment"], "label": other["label"]}
            for other in entry["also"]
            if "actor" in other and other["label"] in learnable
        ]
