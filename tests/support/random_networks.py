"""Networks with random weights, and frames for them."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.architectures import architecture
from model.config import BACKGROUND, ModelConfig
from model.network.cake import Cake

LABELS = (BACKGROUND, "kick", "punch", "jump")


def random_network(name: str, image_size: int) -> Cake:
    """With scores from its first frame on."""
    return network_of(replace(architecture(name, LABELS), image_size=image_size, settle_s=0.0))


def network_of(config: ModelConfig) -> Cake:
    """A network whose norms have statistics of their own, so that no layer is an identity, and whose scores differ."""
    torch.manual_seed(7)
    model = Cake(config).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.3, 1.0)  # type: ignore[union-attr]
    with torch.no_grad():
        model.head.classify.weight.mul_(4)
    return model


def random_frames(streams: int, frames: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    """(B, T, H, W, 3): an image of each stream that drifts."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (streams, 1, size, size, 3))
    noise = rng.integers(-60, 60, (streams, frames, size, size, 3))
    frames_BTHWC: NDArray[np.uint8] = np.clip(images + noise, 0, 255).astype(np.uint8)
    return frames_BTHWC
