"""Writing one stream of MocapStreams: its video, its targets, and the note that says it is complete."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.training.mocap.motion import load_recordings
from model.training.mocap.scene import Picture, render
from model.training.mocap.timeline import compose_timeline
from model.training.video_file import write_h264

TARGET_HZ = 10
MASK_SIZE = 14
_VALIDATION_SHARE = 0.12


@dataclass(frozen=True)
class StreamSpec:
    """All that a stream's content depends on."""

    seed: int
    index: int
    size: int
    fps: int
    stream_s: float
    targets: bool
    subset: str | None

    @property
    def name(self) -> str:
        return f"stream_{self.index:05d}"


def write_stream(out_dir: Path, spec: StreamSpec) -> None:
    """Writes `videos/NAME.mp4`, with targets `targets/NAME.npz`, and at last `streams/NAME.json`."""
    subset_rng, timeline_rng, scene_rng, codec_rng = np.random.default_rng([spec.seed, spec.index]).spawn(4)
    timeline = compose_timeline(timeline_rng, load_recordings(), spec.stream_s)
    pictures = render(scene_rng, timeline.motion, size=spec.size, fps=spec.fps)
    video = out_dir / "videos" / f"{spec.name}.mp4"
    duration_s, seen = _encode(video, pictures, spec, crf=int(codec_rng.integers(17, 34)))
    if spec.targets:
        _write_targets(out_dir / "targets" / f"{spec.name}.npz", seen)
    drawn = "validation" if subset_rng.random() < _VALIDATION_SHARE else "training"
    entry = {
        "subset": spec.subset or drawn,
        "duration": duration_s,
        "resolution": f"{spec.size}x{spec.size}",
        "annotations": [
            {"segment": [round(each.start_s, 3), round(each.end_s, 3)], "label": each.label}
            for each in timeline.segments
        ],
    }
    note = out_dir / "streams" / f"{spec.name}.json"
    part = note.with_suffix(".part")
    part.write_text(json.dumps({"spec": asdict(spec), "entry": entry}))
    part.replace(note)


def read_entry(out_dir: Path, spec: StreamSpec) -> dict[str, object] | None:
    """The annotation entry of a stream written earlier with the same parameters, or None."""
    note = out_dir / "streams" / f"{spec.name}.json"
    if not note.exists():
        return None
    stored = json.loads(note.read_text())
    entry: dict[str, object] | None = stored["entry"] if stored["spec"] == asdict(spec) else None
    return entry


def _encode(path: Path, pictures: Iterable[Picture], spec: StreamSpec, crf: int) -> tuple[float, list[Picture]]:
    """Returns the duration in seconds and the pictures that targets are made of."""
    every = max(1, round(spec.fps / TARGET_HZ))
    sampled: list[Picture] = []

    def images() -> Iterator[NDArray[np.uint8]]:
        for index, picture in enumerate(pictures):
            if index % every == 0:
                sampled.append(picture)
            yield picture.image

    count = write_h264(path, images(), size=spec.size, fps=spec.fps, crf=crf)
    return count / spec.fps, sampled


def _write_targets(path: Path, pictures: list[Picture]) -> None:
    """`joints_TJ2` float16 image coordinates, -1 to 1 inside; `mask_THW` uint8, 255 where the figure covers a cell."""
    joints_TJ2 = np.stack([picture.joints_J2 for picture in pictures]).astype(np.float16)
    mask_THW = np.stack([_coverage(picture) for picture in pictures])
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(file, joints_TJ2=joints_TJ2, mask_THW=mask_THW, rate_hz=TARGET_HZ)
    part.replace(path)


def _coverage(picture: Picture) -> NDArray[np.uint8]:
    """The share of each of 14 x 14 cells that the figure covers, 0 to 255."""
    size = len(picture.figure)
    edges = np.arange(MASK_SIZE + 1) * size // MASK_SIZE
    sums = np.add.reduceat(np.add.reduceat(picture.figure.astype(np.float64), edges[:-1], 0), edges[:-1], 1)
    cells = np.diff(edges)
    coverage: NDArray[np.uint8] = np.round(255 * sums / (cells[:, None] * cells)).astype(np.uint8)
    return coverage
