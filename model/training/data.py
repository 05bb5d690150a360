"""Labelled videos for training: ActivityNet annotations, decoded once into a cache of small frames.

A data folder holds `videos/NAME.mp4` (or another container) and `annotations.json`; `targets/NAME.npz`, if there,
holds the renderer's own knowledge of each frame (see `model.training.mocap`) as further training targets.

Shapes: T frames, S pixels, J joints.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.video import VideoError, open_video

ANNOTATIONS_FILE = "annotations.json"
SUBSETS = ("training", "validation", "testing")


class DataInvalid(ValueError):
    """The data folder is not laid out as expected; names the file, the field and what was expected."""


@dataclass(frozen=True)
class LabelledVideo:
    name: str
    path: Path
    subset: str
    duration_s: float
    segments: tuple[tuple[float, float, str], ...]
    """(start_s, end_s, label), ordered by start."""


@dataclass(frozen=True)
class Frames:
    """Sampled frames of one video, memory-mapped from the cache."""

    images_TSS3: NDArray[np.uint8]
    pts_s_T: NDArray[np.float64]


@dataclass(frozen=True)
class Targets:
    """What the renderer knows of each sampled frame: joints in [-1, 1] of the image, and the figure's coverage."""

    joints_TJ2: NDArray[np.float32]
    mask_TGG: NDArray[np.uint8]


def read_annotations(data_dir: Path) -> list[LabelledVideo]:
    """The videos of a data folder, by name. `DataInvalid` says what is wrong with the layout."""
    path = data_dir / ANNOTATIONS_FILE
    try:
        database = json.loads(path.read_text())["database"]
    except FileNotFoundError as error:
        raise DataInvalid(f"{path}: not there; a data folder holds videos/ and {ANNOTATIONS_FILE}") from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataInvalid(f"{path}: expected ActivityNet JSON with an object under 'database'") from error
    return [_labelled_video(data_dir, path, name, entry) for name, entry in sorted(database.items())]


def _labelled_video(data_dir: Path, path: Path, name: str, entry: Mapping[str, object]) -> LabelledVideo:
    where = f"{path}: database[{name!r}]"
    try:
        subset, duration_s, annotations = str(entry["subset"]), float(str(entry["duration"])), entry["annotations"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataInvalid(f"{where}: expected 'subset', 'duration' in seconds and 'annotations' ({error})") from error
    if subset not in SUBSETS:
        raise DataInvalid(f"{where}.subset: expected one of {', '.join(SUBSETS)}, not {subset!r}")
    if not isinstance(annotations, list):
        raise DataInvalid(f"{where}.annotations: expected a list")
    segments = []
    for index, annotation in enumerate(annotations):
        try:
            start_s, end_s = map(float, annotation["segment"])
            segments.append((start_s, end_s, str(annotation["label"])))
        except (KeyError, TypeError, ValueError) as error:
            raise DataInvalid(
                f"{where}.annotations[{index}]: expected a 'label' and a 'segment' [start, end]"
            ) from error
    videos = sorted((data_dir / "videos").glob(f"{name}.*"))
    if not videos:
        raise DataInvalid(f"{where}: no video of this name in {data_dir / 'videos'}")
    return LabelledVideo(name, videos[0], subset, duration_s, tuple(sorted(segments)))


def labels_of(videos: Sequence[LabelledVideo]) -> tuple[str, ...]:
    """Every label that occurs, sorted, without the background."""
    return tuple(sorted({label for video in videos for _, _, label in video.segments}))


def frame_targets(video: LabelledVideo, labels: Sequence[str], pts_s_T: NDArray[np.float64]) -> NDArray[np.int64]:
    """The index into `labels` at each time; 0 (background) where no segment lies."""
    target_T = np.zeros(len(pts_s_T), dtype=np.int64)
    for start_s, end_s, label in video.segments:
        target_T[(pts_s_T >= start_s) & (pts_s_T < end_s)] = labels.index(label)
    return target_T


def time_in_segment(video: LabelledVideo, pts_s_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds since the segment began at each time; infinity in the background."""
    since_s_T = np.full(len(pts_s_T), np.inf)
    for start_s, end_s, _ in video.segments:
        inside = (pts_s_T >= start_s) & (pts_s_T < end_s)
        since_s_T[inside] = pts_s_T[inside] - start_s
    return since_s_T


def read_targets(data_dir: Path, name: str) -> Targets | None:
    path = data_dir / "targets" / f"{name}.npz"
    if not path.is_file():
        return None
    with np.load(path) as arrays:
        return Targets(arrays["joints_TJ2"].astype(np.float32), arrays["mask_THW"])


def cache_frames(
    videos: Sequence[LabelledVideo],
    cache_dir: Path,
    *,
    sample_hz: float,
    size: int,
    processes: int,
    on_progress: Callable[[int, int], None],
) -> dict[str, str]:
    """Decode every video once, `sample_hz` frames a second as squares of `size` pixels. What is cached already is kept.

    Returns the videos that do not decode, with the reason; they are left out, never replaced by black frames.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    jobs = [(video, _cached(cache_dir, video.name, sample_hz, size), sample_hz, size) for video in videos]
    failures: dict[str, str] = {}
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        for done, (name, reason) in enumerate(pool.imap_unordered(_decode_into, jobs), start=1):
            if reason is not None:
                failures[name] = reason
            on_progress(done, len(jobs))
    return failures


def load_frames(cache_dir: Path, name: str, *, sample_hz: float, size: int) -> Frames:
    path = _cached(cache_dir, name, sample_hz, size)
    return Frames(np.load(path, mmap_mode="r"), np.load(path.with_suffix(".pts.npy")))


def _cached(cache_dir: Path, name: str, sample_hz: float, size: int) -> Path:
    return cache_dir / f"{name}.{size}px.{sample_hz:g}hz.npy"


def _decode_into(job: tuple[LabelledVideo, Path, float, int]) -> tuple[str, str | None]:
    video, path, sample_hz, size = job
    if path.is_file():
        return video.name, None
    try:
        with open_video(video.path) as source:
            frames = [(frame.image, frame.pts_s) for frame in source.frames(sample_hz=sample_hz, size=size)]
    except VideoError as error:
        return video.name, str(error)
    np.save(path.with_suffix(".pts.npy"), np.array([pts_s for _, pts_s in frames], dtype=np.float64))
    partial = path.with_suffix(".partial.npy")
    np.save(partial, np.stack([image for image, _ in frames]))
    partial.replace(path)
    return video.name, None
