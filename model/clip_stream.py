"""The state of a stream in clip mode: its last frames, and the GRU's. Needs no torch.

Shapes: T frames of a clip, C = 3 channels (RGB), H = W pixels, Z hidden state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from model.compiled.state import StateError
from model.config import ModelConfig


class ClipStream:
    """Opaque: made by `Detector.open_stream`, advanced by `Detector.push`.

    Args:
        config: of the model; the stream is in its initial state.
    """

    def __init__(self, config: ModelConfig) -> None:
        size = config.image_size
        self._steps = config.trunk.window_steps
        self.frames = 0
        """Number of frames pushed so far."""
        self.images_THWC: NDArray[np.uint8] = np.zeros((0, size, size, 3), np.uint8)
        """The newest frames, at most as many as a clip has."""
        self.hidden_Z: NDArray[np.float32] = np.zeros(config.head.hidden_dim, np.float32)
        self.has_settled = False
        """Never set, since every clip is computed in full."""

    def with_frame(self, image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The newest frames after this one is added."""
        return np.concatenate([self.images_THWC, image_HWC[None]])[-self._steps :]

    def save(self) -> bytes:
        """The whole state, for `restore`."""
        frames = np.array([self.frames], np.int64)
        return save({"images": self.images_THWC, "hidden": self.hidden_Z, "frames": frames})

    def restore(self, saved: bytes) -> None:
        """Resume from a saved state.

        Raises:
            StateError: another model saved it, or it is damaged.
        """
        try:
            state = load(saved)
            images_THWC, hidden_Z, frames_1 = state["images"], state["hidden"], state["frames"]
        except (SafetensorError, KeyError) as error:
            raise StateError(f"the saved stream state cannot be read: {error}") from error
        fits = images_THWC.shape[1:] == self.images_THWC.shape[1:] and hidden_Z.shape == self.hidden_Z.shape
        if not fits or len(images_THWC) > self._steps:
            raise StateError("the saved stream state is of another network")
        self.images_THWC, self.hidden_Z, self.frames = images_THWC, hidden_Z, int(frames_1[0])
