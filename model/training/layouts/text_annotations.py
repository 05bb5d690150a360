"""The text files of THUMOS'14 and of TVSeries, as their authors distribute them, next to the videos:

    DIR/videos/**/NAME.mp4
    DIR/annotations/**/CLASS_val.txt, CLASS_test.txt   THUMOS'14: `NAME START END` a line, one file per class
    DIR/annotations/**/GT-train*.txt, GT-val*.txt, GT-test*.txt   TVSeries: NAME, class, start and end, tab-separated,
                                                                  then columns that are not used here

Times are in seconds. THUMOS'14's validation videos are used for training, as is usual in the field: they are `training`
here, and no subset is `validation`. Its class `Ambiguous` marks stretches that are ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from model.training.layouts.annotations import (
    SUBSETS,
    DataError,
    LabelledVideo,
    VideoLabels,
    clean_label,
    find_videos,
)
from model.training.layouts.segments import Segment

TEXT_FOLDER = "annotations"
_THUMOS_FILE = re.compile(r"(?P<label>.+)_(?P<split>val|test)\.txt")
_TVSERIES_FILE = re.compile(r"GT-(?P<split>train|val|test)[^/]*\.txt")
_THUMOS_SUBSETS = {"val": "training", "test": "testing"}
_TVSERIES_SUBSETS = {"train": "training", "val": "validation", "test": "testing"}
_TVSERIES_COLUMNS = 4
_HELD_OUT_EVERY = 10


def has_text_annotations(data_dir: Path) -> bool:
    """Whether the folder has annotation files of THUMOS'14 or of TVSeries."""
    return any(_THUMOS_FILE.fullmatch(path.name) or _TVSERIES_FILE.fullmatch(path.name) for path in _files(data_dir))


def read_text_annotations(
    data_dir: Path, subsets: Collection[str] = SUBSETS, on_skip: Callable[[str], None] | None = None
) -> list[LabelledVideo]:
    """The videos of these subsets, by name, with labels as the files' names (THUMOS'14) or lines (TVSeries) say.

    Args:
        on_skip: takes a sentence for each video and segment that is left out because it cannot be used: a video without
            a file, a segment that ends before it starts. Without it these are errors.

    Raises:
        DataError: names the file, the line and what was expected; of several missing videos how many, and some names.
    """
    subset_of: dict[str, str] = {}
    segments: dict[str, set[Segment]] = {}
    for where, name, subset, segment in _lines_of(data_dir):
        if subset_of.setdefault(name, subset) != subset:
            raise DataError(f"{where}: {name} is a video of the subset {subset_of[name]} in another file")
        segments.setdefault(name, set())
        start_s, end_s, _ = segment
        if end_s >= start_s:
            segments[name].add(segment)
        elif on_skip is None:
            raise DataError(f"{where}: [{start_s:g}, {end_s:g}] ends before it starts")
        else:
            on_skip(f"{where}: [{start_s:g}, {end_s:g}] ends before it starts")
    labels = {
        name: VideoLabels(subset, tuple(sorted(segments[name])))
        for name, subset in subset_of.items()
        if subset in subsets
    }
    return find_videos(data_dir / TEXT_FOLDER, labels, sorted((data_dir / "videos").rglob("*")), on_skip)


def hold_out_validation(videos: list[LabelledVideo]) -> list[LabelledVideo]:
    """The same, with every tenth training video, at least one, as a validation video if there is none."""
    if any(video.subset == "validation" for video in videos):
        return videos
    training = [video.name for video in videos if video.subset == "training"]
    held_out = {*training[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY]} or {*training[1:][-1:]}
    return [replace(video, subset="validation") if video.name in held_out else video for video in videos]


def _files(data_dir: Path) -> list[Path]:
    return sorted((data_dir / TEXT_FOLDER).rglob("*.txt"))


def _lines_of(data_dir: Path) -> Iterator[tuple[str, str, str, Segment]]:
    """The place of each line, and its video, subset and segment."""
    kinds: set[str] = set()
    for path in _files(data_dir):
        if found := _TVSERIES_FILE.fullmatch(path.name):
            kinds.add("TVSeries")
            yield from _tvseries_lines(path, _TVSERIES_SUBSETS[found["split"]])
        elif found := _THUMOS_FILE.fullmatch(path.name):
            kinds.add("THUMOS'14")
            yield from _thumos_lines(path, _THUMOS_SUBSETS[found["split"]], found["label"])
    if len(kinds) > 1:
        raise DataError(
            f"{data_dir / TEXT_FOLDER}: has files of {' and of '.join(sorted(kinds))}; expected one of them"
        )


def _thumos_lines(path: Path, subset: str, label: str) -> Iterator[tuple[str, str, str, Segment]]:
    for number, line in _text_lines(path):
        where, parts = f"{path}: line {number}", line.split()
        if len(parts) != 3:
            raise DataError(f"{where}: expected a video, a start and an end, not {line[:80]!r}")
        yield where, parts[0], subset, (_seconds(where, parts[1]), _seconds(where, parts[2]), clean_label(label))


def _tvseries_lines(path: Path, subset: str) -> Iterator[tuple[str, str, str, Segment]]:
    for number, line in _text_lines(path):
        where, parts = f"{path}: line {number}", [part.strip() for part in line.split("\t")]
        if len(parts) < _TVSERIES_COLUMNS or not parts[0] or not parts[1]:
            raise DataError(
                f"{where}: expected an episode, a class, a start and an end with tabs between them, not {line[:80]!r}"
            )
        name, label, start, end = parts[:_TVSERIES_COLUMNS]
        yield where, name, subset, (_seconds(where, start), _seconds(where, end), clean_label(label))


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a text file in UTF-8") from error
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _seconds(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: expected a time in seconds, not {text[:80]!r}")
    return value
