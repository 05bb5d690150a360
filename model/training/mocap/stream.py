"""Writes one stream of MocapStreams: its video, its targets, and the record that it is complete."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.atomic import write_atomically, write_text_atomically
from model.training.mocap.motion import Motion, load_recordings
from model.training.mocap.scene import RenderedFrame, render_stream
from model.training.mocap.timeline import compose_timeline
from model.video.writer import write_h264

TARGET_HZ = 10
MASK_SIZE = 14
_VALIDATION_SHARE = 0.12
_INSET_SHARE = 0.15


@dataclass(frozen=True)
class StreamSpec:
    """Everything a stream's content depends on."""

    seed: int
    index: int
    width: int
    height: int
    fps: int
    stream_s: float
    targets: bool
    subset: str | None

    @property
    def name(self) -> str:
        """Name of the stream's file, without suffix."""
        return f"stream_{self.index:05d}"


def write_stream(out_dir: Path, spec: StreamSpec) -> None:
    """Writes `videos/NAME.mp4`, with targets `targets/NAME.npz`, and at last `streams/NAME.json`."""
    subset_rng, timeline_rng, scene_rng, codec_rng = np.random.default_rng([spec.seed, spec.index]).spawn(4)
    timeline = compose_timeline(timeline_rng, load_recordings(), spec.stream_s)
    frames = _frames(scene_rng, timeline.motion, spec)
    video = out_dir / "videos" / f"{spec.name}.mp4"
    duration_s, seen = _encode(video, frames, spec, crf=int(codec_rng.integers(17, 34)))
    if spec.targets:
        _write_targets(out_dir / "targets" / f"{spec.name}.npz", seen)
    drawn = "validation" if subset_rng.random() < _VALIDATION_SHARE else "training"
    entry = {
        "subset": spec.subset or drawn,
        "duration": duration_s,
        "resolution": f"{spec.width}x{spec.height}",
        "annotations": [
            {"segment": [round(each.start_s, 3), round(each.end_s, 3)], "label": each.label}
            for each in timeline.segments
        ],
    }
    note = out_dir / "streams" / f"{spec.name}.json"
    write_text_atomically(note, json.dumps({"spec": asdict(spec), "entry": entry}))


def _frames(rng: np.random.Generator, motion: Motion, spec: StreamSpec) -> Iterator[RenderedFrame]:
    """The stream's frames; if they are not square, a few streams show a square video within a plain border."""
    if spec.width == spec.height or rng.random() >= _INSET_SHARE:
        return render_stream(rng, motion, width=spec.width, height=spec.height, fps=spec.fps)
    side = 2 * round(rng.uniform(0.45, 1.0) * min(spec.width, spec.height) / 2)
    left, top = (int(rng.integers(0, room + 1)) for room in (spec.width - side, spec.height - side))
    border = rng.integers(0, 256, 3, np.uint8) if rng.random() < 0.5 else np.zeros(3, np.uint8)
    return (
        _inset(frame, spec, border, left, top)
        for frame in render_stream(rng, motion, width=side, height=side, fps=spec.fps)
    )


def _inset(frame: RenderedFrame, spec: StreamSpec, border: NDArray[np.uint8], left: int, top: int) -> RenderedFrame:
    side = len(frame.image)
    image = np.broadcast_to(border, (spec.height, spec.width, 3)).copy()
    figure = np.zeros((spec.height, spec.width), np.bool_)
    image[top : top + side, left : left + side] = frame.image
    figure[top : top + side, left : left + side] = frame.figure
    size_2 = np.array([spec.width, spec.height])
    joints_px_J2 = (frame.joints_J2 + 1) / 2 * side + np.array([left, top])
    return RenderedFrame(image, figure, joints_px_J2 / size_2 * 2 - 1)


def read_entry(out_dir: Path, spec: StreamSpec) -> dict[str, object] | None:
    """The annotation entry of a stream written earlier with the same parameters, or None."""
    note = out_dir / "streams" / f"{spec.name}.json"
    if not note.exists():
        return None
    stored = json.loads(note.read_text())
    entry: dict[str, object] | None = stored["entry"] if stored["spec"] == asdict(spec) else None
    return entry


def _encode(
    path: Path, frames: Iterable[RenderedFrame], spec: StreamSpec, crf: int
) -> tuple[float, list[RenderedFrame]]:
    """Returns the duration in seconds and the frames from which targets are made."""
    every = max(1, round(spec.fps / TARGET_HZ))
    sampled: list[RenderedFrame] = []

    def images() -> Iterator[NDArray[np.uint8]]:
        for index, frame in enumerate(frames):
            if index % every == 0:
                sampled.append(frame)
            yield frame.image

    count = write_h264(path, images(), width=spec.width, height=spec.height, fps=spec.fps, crf=crf)
    return count / spec.fps, sampled


def _write_targets(path: Path, frames: list[RenderedFrame]) -> None:
    """`joints_TJ2` float16 image coordinates, -1 to 1 inside; `mask_THW` uint8, 255 where the figure covers a cell."""
    joints_TJ2 = np.stack([frame.joints_J2 for frame in frames]).astype(np.float16)
    mask_THW = np.stack([coverage(frame.figure) for frame in frames])
    with write_atomically(path) as partial_path:
        np.savez_compressed(partial_path, joints_TJ2=joints_TJ2, mask_THW=mask_THW, rate_hz=TARGET_HZ)


def coverage(figure_HW: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """How much of each of 14 x 14 cells of the frame figures cover, (14, 14): 0 for nothing, 255 for all."""
    rows, columns = (np.arange(MASK_SIZE + 1) * side // MASK_SIZE for side in figure_HW.shape)
    sums = np.add.reduceat(np.add.reduceat(figure_HW.astype(np.float64), rows[:-1], 0), columns[:-1], 1)
    shares: NDArray[np.uint8] = np.round(255 * sums / np.outer(np.diff(rows), np.diff(columns))).astype(np.uint8)
    return shares
