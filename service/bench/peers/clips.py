"""The paper's clip decision by other means than the authors': PyTorch at its best, and OpenVINO.

Shapes: B = 1 clip, T frames, C channels, H and W pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network.cake import Cake
from model.network.folding import fold_norms
from model.video.preprocess import normalise


class ClipDecision(nn.Module):
    """Maps a clip and the hidden state to the scores and the next hidden state."""

    def __init__(self, model: Cake) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_BCTHW: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor]:
        """One decision."""
        found = self.model.clip(x_BCTHW)
        scores_BK, next_BH = self.model.head.step(torch.cat([found.static_BD, found.motion_BD], dim=1), hidden_BH)
        return scores_BK, next_BH


Decide = Callable[[], NDArray[np.float32]]
"""Makes a decision about the same clip each time; returns the scores (K,)."""


def torch_clips(model: Cake, images_THWC: NDArray[np.uint8], dtype: torch.dtype, *, folded: bool) -> Decide:
    """PyTorch with the channels-last layout and, optionally, with the batch norms folded into the convolutions.

    It uses two threads, which share the core that the process may use: with a single thread, PyTorch 2.13 drops the
    channels-last layout (see `findings/torch-one-thread-drops-channels-last.sh`).
    """
    decision = ClipDecision(fold_norms(model) if folded else Cake(model.config))
    if not folded:
        decision.model.load_state_dict(model.state_dict())
    for parameter in decision.eval().to(dtype).parameters():
        if parameter.dim() in (4, 5):
            layout = torch.channels_last if parameter.dim() == 4 else torch.channels_last_3d
            parameter.data = parameter.data.contiguous(memory_format=layout)
    hidden_BH = model.head.fresh(1).to(dtype)

    @torch.inference_mode()
    def decide() -> NDArray[np.float32]:
        clip_BCTHW = clip_of(images_THWC).to(dtype).contiguous(memory_format=torch.channels_last_3d)
        with _two_threads():
            scores_BK, _ = decision(clip_BCTHW, hidden_BH)
        scores_K: NDArray[np.float32] = scores_BK[0].float().numpy()
        return scores_K

    return decide


def openvino_clips(model: Cake, images_THWC: NDArray[np.uint8], precision: str) -> Decide:
    """OpenVINO's translation of the network in PyTorch, compiled for one clip. `precision` is f32 or bf16."""
    import openvino

    hidden_BH = model.head.fresh(1)
    clip_BCTHW = clip_of(images_THWC)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Converting a tensor to a Python boolean")  # sizes stay the same
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)  # OpenVINO's concern
        translated = openvino.convert_model(ClipDecision(model).eval(), example_input=(clip_BCTHW, hidden_BH))
    translated.reshape(dict(zip(translated.inputs, (clip_BCTHW.shape, hidden_BH.shape), strict=True)))
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(translated, "CPU", options).create_infer_request()

    def decide() -> NDArray[np.float32]:
        found = request.infer({0: clip_of(images_THWC).numpy(), 1: hidden_BH.numpy()})
        scores_K: NDArray[np.float32] = found[0][0]
        return scores_K

    return decide


def clip_of(images_THWC: NDArray[np.uint8]) -> Tensor:
    """(1, C, T, H, W), normalised."""
    return torch.from_numpy(normalise(images_THWC)).transpose(0, 1)[None].contiguous()


@contextmanager
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)
