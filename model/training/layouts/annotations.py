"""Labelled videos for training, as ActivityNet annotates them.

A data folder holds `videos/NAME.mp4` (or another container) and `annotations.json`; `targets/NAME.npz`, if there,
holds the renderer's own knowledge of each frame (see `model.training.mocap.dataset`) as further training targets.

Shapes: T frames, J joints, K labels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.config import BACKGROUND

ANNOTATIONS_FILE = "annotations.json"
SUBSETS = ("training", "validation", "testing")
AMBIGUOUS = "ambiguous"
"""The label of segments that count neither for nor against a model, as in THUMOS'14."""

_SHORT_SUBSETS = {"train": "training", "val": "validation", "test": "testing"}
_ROUNDING_S = 1e-6


class DataInvalid(ValueError):
    """The data folder is not laid out as expected; names the file, the field and what was expected."""


@dataclass(frozen=True)
class LabelledVideo:
    name: str
    path: Path
    subset: str
    duration_s: float
    segments: tuple[tuple[float, float, str], ...]
    """(start_s, end_s, label), ordered by start. They may overlap: a frame can have several labels."""


@dataclass(frozen=True)
class Targets:
    """What the renderer knows of each sampled frame: joints in [-1, 1] of the image, and the figure's coverage."""

    joints_TJ2: NDArray[np.float32]
    mask_TGG: NDArray[np.uint8]


def read_annotations(data_dir: Path) -> list[LabelledVideo]:
    """The videos of a data folder, by name. `DataInvalid` says what is wrong with the layout."""
    path = data_dir / ANNOTATIONS_FILE
    try:
        database = json.loads(path.read_text(encoding="utf-8"))["database"]
    except FileNotFoundError as error:
        raise DataInvalid(f"{path}: not there; a data folder holds videos/ and {ANNOTATIONS_FILE}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataInvalid(f"{path}: expected ActivityNet JSON with an object under 'database'") from error
    if not isinstance(database, dict):
        raise DataInvalid(f"{path}: database: expected an object with an entry for each video")
    files: dict[str, list[Path]] = {}
    for file in sorted((data_dir / "videos").glob("*")):
        files.setdefault(file.stem, []).append(file)
    return [
        _labelled_video(f"{path}: database[{name!r}]", name, entry, files.get(name, []))
        for name, entry in sorted(database.items())
    ]


def _labelled_video(where: str, name: str, entry: Mapping[str, object], files: Sequence[Path]) -> LabelledVideo:
    try:
        subset, duration_s, annotations = str(entry["subset"]), float(str(entry["duration"])), entry["annotations"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataInvalid(f"{where}: expected 'subset', 'duration' in seconds and 'annotations' ({error})") from error
    known_subset = _SHORT_SUBSETS.get(subset.lower(), subset.lower())
    if known_subset not in SUBSETS:
        raise DataInvalid(f"{where}.subset: expected one of {', '.join(SUBSETS)}, not {subset!r}")
    if not isinstance(annotations, list):
        raise DataInvalid(f"{where}.annotations: expected a list")
    segments = (_segment(f"{where}.annotations[{i}]", annotation) for i, annotation in enumerate(annotations))
    if len(files) != 1:
        found = f"there are {', '.join(file.name for file in files)}" if files else "there is no video of this name"
        raise DataInvalid(f"{where}: expected one file videos/{name}.*; {found}")
    return LabelledVideo(name, files[0], known_subset, duration_s, tuple(sorted(segments)))


def _segment(where: str, annotation: Mapping[str, object]) -> tuple[float, float, str]:
    try:
        start_s, end_s = map(float, annotation["segment"])  # type: ignore[call-overload]
        label = str(annotation["label"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataInvalid(f"{where}: expected a 'label' and a 'segment' [start, end]") from error
    if not (math.isfinite(start_s) and math.isfinite(end_s) and start_s <= end_s):
        raise DataInvalid(f"{where}.segment: expected [start, end] in seconds, not [{start_s:g}, {end_s:g}]")
    return start_s, end_s, label.lower() if label.lower() in (BACKGROUND, AMBIGUOUS) else label


def labels_of(videos: Sequence[LabelledVideo]) -> tuple[str, ...]:
    """Every label that occurs, sorted, without the background and what is ambiguous."""
    return tuple(sorted({label for video in videos for _, _, label in video.segments} - {BACKGROUND, AMBIGUOUS}))


def frame_targets(video: LabelledVideo, labels: Sequence[str], pts_s_T: NDArray[np.float64]) -> NDArray[np.int64]:
    """One index into `labels` at each time; 0 (background) where no action is. Of several, the last to start."""
    target_T = np.zeros(len(pts_s_T), dtype=np.int64)
    for start_s, end_s, label in _actions(video):
        target_T[_covered(pts_s_T, start_s, end_s)] = labels.index(label)
    return target_T


def frame_labels(video: LabelledVideo, labels: Sequence[str], pts_s_T: NDArray[np.float64]) -> NDArray[np.float32]:
    """Every label at each time (T, K), 0 or 1; column 0, the background, where no action is."""
    target_TK = np.zeros((len(pts_s_T), len(labels)), dtype=np.float32)
    for start_s, end_s, label in _actions(video):
        target_TK[_covered(pts_s_T, start_s, end_s), labels.index(label)] = 1
    target_TK[:, 0] = ~target_TK.any(axis=1)
    return target_TK


def ambiguous_frames(video: LabelledVideo, pts_s_T: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which times a segment called "ambiguous" covers."""
    ambiguous_T = np.zeros(len(pts_s_T), dtype=bool)
    for start_s, end_s, label in video.segments:
        if label == AMBIGUOUS:
            ambiguous_T |= _covered(pts_s_T, start_s, end_s)
    return ambiguous_T


def time_in_segment(video: LabelledVideo, pts_s_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds since the last action to start began, at each time; infinity in the background."""
    since_s_T = np.full(len(pts_s_T), np.inf)
    for start_s, end_s, _ in _actions(video):
        inside_T = _covered(pts_s_T, start_s, end_s)
        since_s_T[inside_T] = pts_s_T[inside_T] - start_s
    return since_s_T


def _actions(video: LabelledVideo) -> list[tuple[float, float, str]]:
    return [segment for segment in video.segments if segment[2] not in (BACKGROUND, AMBIGUOUS)]


def _covered(pts_s_T: NDArray[np.float64], start_s: float, end_s: float) -> NDArray[np.bool_]:
    return (pts_s_T >= start_s - _ROUNDING_S) & (pts_s_T < end_s - _ROUNDING_S)


def read_targets(data_dir: Path, name: str) -> Targets | None:
    path = data_dir / "targets" / f"{name}.npz"
    if not path.is_file():
        return None
    with np.load(path) as arrays:
        return Targets(arrays["joints_TJ2"].astype(np.float32), arrays["mask_THW"])
