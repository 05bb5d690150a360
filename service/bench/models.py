"""Measures how fast one core runs each model: in steps, as served, and in clips, as in the paper."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from model.architectures import cake_s
from model.checkpoints.checkpoint import load_checkpoint
from model.checkpoints.folders import available_models
from model.config import BACKGROUND, ModelConfig
from model.cpus import use_one_thread
from model.detector import Detector
from model.network.cake import Cake
from model.video.preprocess import normalise
from service.bench.core_time import Effort, core_seconds

BATCHES = (1, 8)
CLIP_FRAMES = 13
LABELS = (BACKGROUND, *(f"action {i}" for i in range(20)))
"""Labels of a network with random weights."""


@dataclass(frozen=True)
class ModelSpeed:
    """Speed of a model on one core. Keys of `steps_per_core_second` are batch sizes."""

    image_size: int
    precision: str
    """Precision of the steps; clips are computed in float32."""
    steps_per_core_second: dict[str, float]
    """Steps per second, by batch size N; a step is one frame of one stream."""
    clip_decisions_per_core_second: float
    """Decisions by the paper's method: a clip of 13 frames computed from the beginning, and the head's step."""
    ratio: float
    """Steps at the best batch size per clip decision."""
    paper_fps: float
    """Clip decisions times 13: the paper counts each frame of a clip, although clips overlap."""


def measure_models(effort: Effort) -> dict[str, ModelSpeed]:
    """Measure `cake-s` with random weights, and every shipped checkpoint."""
    use_one_thread()
    models = {"cake-s": random_network(cake_s(LABELS))}
    models |= {name: load_checkpoint(name)[0] for name in available_models()}
    return {name: measure_model(model, effort) for name, model in models.items()}


def random_network(config: ModelConfig) -> Cake:
    """A network with random weights, the same each time."""
    torch.manual_seed(0)
    return Cake(config).eval()


def measure_model(model: Cake, effort: Effort) -> ModelSpeed:
    """Measure the served graph and the paper's clips in alternation, on one thread."""
    detector = Detector(model, precision="auto")
    steps = {str(batch): (stepper(detector, batch), batch) for batch in BATCHES}
    calls = {name: step for name, (step, _) in steps.items()} | {"clip": clipper(model)}
    seconds = core_seconds(calls, effort)
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


def stepper(detector: Detector, batch: int) -> Callable[[], object]:
    """One step of `batch` streams."""
    streams = [detector.open_stream() for _ in range(batch)]
    images_BHWC = random_images(batch, detector.config.image_size)
    return lambda: detector.push(streams, images_BHWC)


def clipper(model: Cake) -> Callable[[], object]:
    """One decision by the paper's method, as PyTorch computes it by default."""
    images_THWC = random_images(CLIP_FRAMES, model.config.image_size)
    hidden_BH = model.head.fresh(1)

    @torch.inference_mode()
    def decide() -> object:
        x_TCHW = torch.from_numpy(normalise(images_THWC))
        features = model.clip(x_TCHW.transpose(0, 1)[None].contiguous())
        return model.head.step(torch.cat([features.static_BD, features.motion_BD], dim=1), hidden_BH)

    return decide


def random_images(count: int, size: int) -> "np.typing.NDArray[np.uint8]":
    """Random images, (B, H, W, C)."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
