"""How fast one core runs each model: step by step, as served, and clip by clip, as the paper counts."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from model.cake import Cake
from model.checkpoint import available_models, load_checkpoint
from model.config import BACKGROUND, cake_s
from model.detector import Detector
from model.preprocess import normalise

BATCHES = (1, 8)
CLIP_FRAMES = 13
CLASSES = 20


@dataclass(frozen=True)
class Effort:
    """How long to measure: the median of `rounds` measurements that take at least `round_s` each."""

    rounds: int
    round_s: float


@dataclass(frozen=True)
class ModelSpeed:
    image_size: int
    precision: str
    """Of the steps; clips are computed in float32."""
    steps_per_core_second: dict[str, float]
    """One more frame of each of N streams, by N; a step is one frame of one stream."""
    clip_decisions_per_core_second: float
    """A clip of 13 frames computed anew, and the head's step: what the paper does for each decision."""
    ratio: float
    """Steps at the best batch size over clip decisions."""
    paper_fps: float
    """Clip decisions times 13: the paper counts each frame of a clip, though clips overlap."""


def measure_models(effort: Effort) -> dict[str, ModelSpeed]:
    """`cake-s` with random weights, and every shipped checkpoint. Torch must run on one thread."""
    torch.manual_seed(0)
    labels = (BACKGROUND, *(f"action {i}" for i in range(CLASSES)))
    models = {"cake-s": Cake(cake_s(labels)).eval()}
    models |= {name: load_checkpoint(name)[0] for name in available_models()}
    return {name: measure_model(model, effort) for name, model in models.items()}


def measure_model(model: Cake, effort: Effort) -> ModelSpeed:
    detector = Detector(model, precision="auto")
    steps = {str(batch): (_stepper(detector, batch), batch) for batch in BATCHES}
    clips = _clipper(model)
    seconds: dict[str, list[float]] = {name: [] for name in (*steps, "clip")}
    # In turns, so that what disturbs the machine for a while disturbs all of them.
    for _ in range(effort.rounds):
        for name, (step, _batch) in steps.items():
            seconds[name].append(_core_seconds(step, effort.round_s))
        seconds["clip"].append(_core_seconds(clips, effort.round_s))
    per_second = {name: batch / float(np.median(seconds[name])) for name, (_, batch) in steps.items()}
    decisions = 1 / float(np.median(seconds["clip"]))
    return ModelSpeed(
        image_size=model.config.image_size,
        precision=detector.precision,
        steps_per_core_second={name: round(value, 2) for name, value in per_second.items()},
        clip_decisions_per_core_second=round(decisions, 3),
        ratio=round(max(per_second.values()) / decisions, 2),
        paper_fps=round(CLIP_FRAMES * decisions, 2),
    )


def _core_seconds(function: Callable[[], object], at_least_s: float) -> float:
    """Processor time of one call in seconds, all threads together: other programs on the machine hardly change it."""
    function()
    calls, began_s, took_s = 0, time.process_time(), 0.0
    while took_s < at_least_s or calls == 0:
        function()
        calls += 1
        took_s = time.process_time() - began_s
    return took_s / calls


def _stepper(detector: Detector, batch: int) -> Callable[[], object]:
    streams = [detector.open_stream() for _ in range(batch)]
    images_BHWC = _noise(batch, detector.config.image_size)
    return lambda: detector.push(streams, images_BHWC)


def _clipper(model: Cake) -> Callable[[], object]:
    images_THWC = _noise(CLIP_FRAMES, model.config.image_size)
    hidden_BH = model.head.fresh(1)

    @torch.inference_mode()
    def decide() -> object:
        x_TCHW = torch.from_numpy(normalise(images_THWC))
        features = model.clip(x_TCHW.transpose(0, 1)[None].contiguous())
        return model.head.step(torch.cat([features.static_BD, features.motion_BD], dim=1), hidden_BH)

    return decide


def _noise(count: int, size: int) -> "np.typing.NDArray[np.uint8]":
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
