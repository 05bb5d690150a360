"""Measures peers and the served path on one core, alternately."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from model.cpus import use_one_thread
from model.detector import Detector
from model.network.cake import Cake
from service.bench.clips import RATE_HZ, write_moving
from service.bench.core_time import Effort, core_seconds
from service.bench.models import BATCHES, CLIP_FRAMES, clipper, random_images, stepper
from service.bench.peers.clips import openvino_clips, torch_clips
from service.bench.peers.cox3d import cox3d_stepper
from service.bench.peers.decoding import opencv_reader, ours, with_pyav, write_as_camera
from service.bench.peers.steps import onnx_stepper, write_step_graph

DECODED_SIZE = (1280, 720)
PACKAGES = {
    "continual": ("continual-inference", "CoX3D"),
    "cv2": ("opencv-python-headless", "the loop with OpenCV"),
    "onnxruntime": ("onnxruntime", "ONNX Runtime on the step"),
}
"""Optional packages of peers: by module, the package to install and what is left out without it."""


@dataclass(frozen=True)
class Speed:
    """The speed of one implementation, per second of a core."""

    name: str
    is_ours: bool
    per_core_second: float
    """Decisions, or frames of the video: the median of the rounds."""
    lowest: float
    highest: float
    ours_is_times: float
    """The speed of our fastest implementation divided by this one."""


@dataclass(frozen=True)
class Peers:
    """All peers, by task."""

    decisions: list[Speed]
    """`cake-s` with random weights: one decision per frame, from pixels to scores."""
    decoding: dict[str, list[Speed]]
    """Frames of 720p30 H.264, every third of them scaled to the network's size: from a file, and encoded as cameras do.
    """
    missing: dict[str, str]
    """Peers that were left out, and how to install the packages they need."""


@dataclass(frozen=True)
class _Way:
    name: str
    is_ours: bool
    call: Callable[[], object]
    per_call: int = 1
    """Decisions or frames."""


def measure_peers(model: Cake, effort: Effort, video_s: float, *, quick: bool = False) -> Peers:
    """Measure all peers that are installed, on this network and a video of this duration.

    The process must be restricted to one core (see `service.bench.peers.__main__`). `quick` leaves out ONNX Runtime,
    since exporting even a small network takes ten seconds.
    """
    use_one_thread()
    with tempfile.TemporaryDirectory(prefix="cake-peers-") as name:
        folder = Path(name)
        decisions = _speeds([*_our_steps(model), *_clips(model), *_steps(model, None if quick else folder)], effort)
        decoding = _decoding(folder, effort, video_s)
    return Peers(decisions, decoding, missing_peers())


def missing_peers() -> dict[str, str]:
    """Peers that are left out because a package is not installed, and how to install it."""
    return {
        left_out: f"pip install {package}"
        for module, (package, left_out) in PACKAGES.items()
        if not _is_installed(module)
    }


def _our_steps(model: Cake) -> Iterator[_Way]:
    detector = Detector(model, precision="auto")
    for batch in BATCHES:
        yield _Way(f"CAKE's step, {_streams(batch)}", True, stepper(detector, batch), batch)


def _clips(model: Cake) -> Iterator[_Way]:
    images_THWC = random_images(CLIP_FRAMES, model.config.image_size)
    yield _Way("clip as the authors run it, PyTorch", False, clipper(model))
    for folded, dtype in ((False, torch.float32), (True, torch.float32), (True, torch.bfloat16)):
        name = "clip, PyTorch, channels last" + (", norms folded" if folded else "")
        name += ", bfloat16" if dtype == torch.bfloat16 else ""
        yield _Way(name, False, torch_clips(model, images_THWC, dtype, folded=folded))
    for precision, said in (("f32", "float32"), ("bf16", "bfloat16")):
        yield _Way(f"clip, OpenVINO, {said}", False, openvino_clips(model, images_THWC, precision))


def _steps(model: Cake, folder: Path | None) -> Iterator[_Way]:
    config = model.config
    if folder is not None and _is_installed("onnxruntime"):
        write_step_graph(model, folder / "step.onnx")
        for batch in BATCHES:
            step = onnx_stepper(model, folder / "step.onnx", random_images(batch, config.image_size))
            yield _Way(f"step, ONNX Runtime, {_streams(batch)}", False, step, batch)
    if _is_installed("continual"):
        for batch in BATCHES:
            yield _Way(f"CoX3D's step, {_streams(batch)}", False, cox3d_stepper(config, batch), batch)


def _decoding(folder: Path, effort: Effort, video_s: float) -> dict[str, list[Speed]]:
    videos = {"file": folder / "file.mp4", "camera": folder / "camera.mp4"}
    write_moving(videos["file"], *DECODED_SIZE, video_s)
    write_as_camera(videos["camera"], videos["file"])
    loops: dict[str, Callable[[Path], int]] = {"PyAV, every frame": with_pyav}
    if _is_installed("cv2"):
        loops["OpenCV, every frame"] = opencv_reader()
    frames = round(video_s * RATE_HZ)
    return {
        kind: _speeds(
            [
                _Way("CAKE's reader", True, partial(ours, path), frames),
                *(_Way(name, False, partial(loop, path), frames) for name, loop in loops.items()),
            ],
            effort,
        )
        for kind, path in videos.items()
    }


def _speeds(ways: list[_Way], effort: Effort) -> list[Speed]:
    seconds = core_seconds({way.name: way.call for way in ways}, effort)
    rates: Mapping[str, list[float]] = {way.name: [way.per_call / s for s in seconds[way.name]] for way in ways}
    best = max(float(np.median(rates[way.name])) for way in ways if way.is_ours)
    return [
        Speed(
            name=way.name,
            is_ours=way.is_ours,
            per_core_second=round(float(np.median(rates[way.name])), 2),
            lowest=round(min(rates[way.name]), 2),
            highest=round(max(rates[way.name]), 2),
            ours_is_times=round(best / float(np.median(rates[way.name])), 2),
        )
        for way in ways
    ]


def _is_installed(module: str) -> bool:
    return find_spec(module) is not None


def _streams(batch: int) -> str:
    return "one stream" if batch == 1 else f"{batch} streams"
