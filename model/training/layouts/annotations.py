"""Labelled videos for training, as ActivityNet annotates them.

A data folder holds `videos/NAME.mp4` (or another container) and `annotations.json`; `targets/NAME.npz`, if it exists,
holds the renderer's data about each frame (see `model.training.mocap.dataset`) as additional training targets.

Shapes: T frames, J joints, K labels.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from model.config import BACKGROUND
from model.training.layouts.segments import AMBIGUOUS, Segment
from model.video.preprocess import WHOLE_FRAME, Region, region_of

ANNOTATIONS_FILE = "annotations.json"
SUBSETS = ("training", "validation", "testing")
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".flv", ".wmv", ".asf"}
    | {".3gp", ".ogv", ".ogg", ".vob", ".mxf", ".f4v", ".y4m", ".nut", ".gif", ".h264", ".hevc"}
)
_SHOWN = 5
_ROUNDING = 1e-6
_SHORT_SUBSETS = {"train": "training", "val": "validation", "test": "testing"}


class DataError(ValueError):
    """The data folder is not laid out as expected; names the file, the field and what was expected."""


@dataclass(frozen=True)
class LabelledVideo:
    """A video file and its annotated segments, in seconds."""

    name: str
    path: Path
    subset: str
    segments: tuple[Segment, ...]
    """(start_s, end_s, label), ordered by start. They may overlap: a frame can have several labels."""
    duration_s: float = 0.0
    """The annotated duration; 0 if there is none."""
    region: Region = WHOLE_FRAME
    """The part of the displayed frame that the labels apply to: the network sees only this part."""
    targets_path: Path | None = None
    """Where the renderer's targets are, if it wrote any (see `read_targets`)."""


@dataclass(frozen=True)
class Targets:
    """The renderer's data about each sampled frame: joints in [-1, 1] of the image, and the figure's coverage."""

    joints_TJ2: NDArray[np.float32]
    mask_TGG: NDArray[np.uint8]


@dataclass(frozen=True)
class VideoLabels:
    """The content of an annotation file about one video; fields as in `LabelledVideo`."""

    subset: str
    segments: tuple[Segment, ...]
    duration_s: float = 0.0
    region: Region = WHOLE_FRAME


def read_annotations(
    data_dir: Path, subsets: Collection[str] = SUBSETS, on_skip: Callable[[str], None] | None = None
) -> list[LabelledVideo]:
    """The videos of these subsets in a data folder, by name.

    Args:
        on_skip: takes a sentence for each video and segment that is left out because it cannot be used: a video without
            a file, a segment that ends before it starts. Without it these are errors.

    Raises:
        DataError: names the file, the field and what was expected; of several missing videos how many, and some names.
    """
    path = data_dir / ANNOTATIONS_FILE
    labels = {
        name: _labels_of_entry(f"{path}: database[{name!r}]", entry, on_skip)
        for name, entry in _read_database(path).items()
    }
    wanted = {name: found for name, found in labels.items() if found.subset in subsets}
    videos = find_videos(path, wanted, sorted((data_dir / "videos").glob("*")), on_skip)
    return [replace(video, targets_path=data_dir / "targets" / f"{video.name}.npz") for video in videos]


def find_videos(
    annotations: Path, labels: Mapping[str, VideoLabels], files: Iterable[Path], on_skip: Callable[[str], None] | None
) -> list[LabelledVideo]:
    """The labelled videos with their files, sorted by name.

    Args:
        annotations: where the labels were read, for errors.
        labels: by the video's name.
        files: of which the videos are some. Subtitles and notes next to a video are not videos.
        on_skip: as in `read_annotations`.

    Raises:
        DataError: a video has several files, or, without `on_skip`, none.
    """
    by_key: dict[str, list[Path]] = {}
    for file in files:
        if file.suffix.lower() in VIDEO_SUFFIXES and not file.stem.endswith(".partial"):
            by_key.setdefault(_key(file.name), []).append(file)
    videos: list[LabelledVideo] = []
    missing: list[str] = []
    for name, found in sorted(labels.items()):
        own = by_key.get(_key(name), [])
        if not own:
            missing.append(name)
        elif len(own) > 1:
            names = ", ".join(file.name for file in own)
            raise DataError(f"{annotations}: {name}: expected one file videos/{name}.*; there are {names}")
        else:
            subset, segments, duration_s, region = found.subset, found.segments, found.duration_s, found.region
            videos.append(LabelledVideo(name, own[0], subset, segments, duration_s, region))
    _report_missing(annotations, missing, on_skip)
    return videos


def _read_database(path: Path) -> Mapping[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_object_without_repeats)
    except FileNotFoundError as error:
        raise DataError(f"{path}: not found; a data folder holds videos/ and {ANNOTATIONS_FILE}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except _RepeatedKeyError as error:
        raise DataError(f"{path}: {error} occurs twice in one object; its first entry would be lost") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected ActivityNet JSON; it is not JSON in UTF-8 ({error})") from error
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise DataError(f"{path}: expected ActivityNet JSON: an object whose 'database' has an entry for each video")
    return database


class _RepeatedKeyError(ValueError):
    """The key, as JSON."""


def _object_without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in pairs:
        if key in values:
            raise _RepeatedKeyError(json.dumps(key))
        values[key] = value
    return values


def _key(name: str) -> str:
    """The common key of an entry and its file: downloaded copies of ActivityNet are called v_ID.mp4, and some
    annotations name the file.
    """
    stem, dot, suffix = name.rpartition(".")
    if dot and f".{suffix.lower()}" in VIDEO_SUFFIXES:
        name = stem
    return name.removeprefix("v_")


def _report_missing(path: Path, missing: Sequence[str], on_skip: Callable[[str], None] | None) -> None:
    if not missing:
        return
    if on_skip is not None:
        for name in missing:
            on_skip(f"{name}: there is no video of this name")
        return
    shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
    raise DataError(
        f"{path}: {len(missing)} of its videos are not in the folder videos/: {shown}. Add them, or leave them "
        "out with --skip-invalid"
    )


def _labels_of_entry(where: str, entry: object, on_skip: Callable[[str], None] | None) -> VideoLabels:
    if not isinstance(entry, Mapping) or "subset" not in entry or "annotations" not in entry:
        raise DataError(f"{where}: expected an object with 'subset' and 'annotations'")
    subset = str(entry["subset"])
    known_subset = _SHORT_SUBSETS.get(subset.lower(), subset.lower())
    if known_subset not in SUBSETS:
        raise DataError(f"{where}.subset: expected one of {', '.join(SUBSETS)}, not {subset!r}")
    duration_s = _number(entry["duration"]) if "duration" in entry else 0.0
    if "duration" in entry and not (math.isfinite(duration_s) and duration_s > 0):
        raise DataError(f"{where}.duration: expected a positive number of seconds, not {entry['duration']!r}")
    region = _region(f"{where}.region", entry["region"]) if "region" in entry else WHOLE_FRAME
    annotations = entry["annotations"]
    if not isinstance(annotations, list):
        raise DataError(f"{where}.annotations: expected a list")
    segments: list[Segment] = []
    for index, annotation in enumerate(annotations):
        try:
            segments.append(_segment(f"{where}.annotations[{index}]", annotation))
        except _ReversedSegmentError as error:
            if on_skip is None:
                raise
            on_skip(str(error))
    return VideoLabels(known_subset, tuple(sorted(set(segments))), duration_s, region)


def _region(where: str, region: object) -> Region:
    """A region from its JSON, [x, y, width, height]."""
    if not isinstance(region, list) or len(region) != 4:
        raise DataError(f"{where}: expected [x, y, width, height] in fractions of the frame, not {str(region)[:80]}")
    try:
        return region_of([*map(_number, region)])
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


class _ReversedSegmentError(DataError):
    """A segment ends before it starts, as a few of ActivityNet's do."""


def _segment(where: str, annotation: object) -> Segment:
    if not isinstance(annotation, Mapping) or "label" not in annotation or "segment" not in annotation:
        raise DataError(f"{where}: expected a 'label' and a 'segment' [start, end]")
    label, segment = annotation["label"], annotation["segment"]
    if not is_label(label):
        raise DataError(f"{where}.label: expected a name, not {label!r}")
    if not isinstance(segment, list) or len(segment) != 2 or not all(math.isfinite(_number(each)) for each in segment):
        raise DataError(f"{where}.segment: expected [start, end] in seconds, not {str(segment)[:80]}")
    start_s, end_s = map(_number, segment)
    if end_s < start_s:
        raise _ReversedSegmentError(f"{where}.segment: [{start_s:g}, {end_s:g}] ends before it starts")
    return start_s, end_s, clean_label(label)


def is_label(value: object) -> TypeGuard[str]:
    """Whether it is non-blank text. Lone surrogates, which JSON can contain, are not text, because they cannot be
    written.
    """
    return isinstance(value, str) and bool(value.strip()) and not any("\ud800" <= each <= "\udfff" for each in value)


def clean_label(label: str) -> str:
    """The label as it is compared: without spaces around it, composed Unicode, special names in lower case."""
    label = unicodedata.normalize("NFC", label.strip())
    return label.lower() if label.lower() in (BACKGROUND, AMBIGUOUS) else label


def _number(value: object) -> float:
    """NaN for anything that is not a number. ActivityNet's files write some numbers as strings."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def labels_of(videos: Sequence[LabelledVideo]) -> tuple[str, ...]:
    """Every label that occurs, sorted, without the background and the ambiguous label."""
    return tuple(sorted({label for video in videos for _, _, label in video.segments} - {BACKGROUND, AMBIGUOUS}))


def read_targets(path: Path | None, pts_s_T: NDArray[np.float64]) -> Targets | None:
    """The targets at each sampled frame's time if the file states the times of its rows, otherwise row by row; None
    without a file.
    """
    if path is None or not path.is_file():
        return None
    with np.load(path) as arrays:
        joints_TJ2, mask_TGG = arrays["joints_TJ2"].astype(np.float32), arrays["mask_THW"]
        if "pts_s_T" not in arrays:
            return Targets(joints_TJ2, mask_TGG)
        nearest_T = np.abs(arrays["pts_s_T"] - pts_s_T[:, None]).argmin(axis=1)
    return Targets(joints_TJ2[nearest_T], mask_TGG[nearest_T])
