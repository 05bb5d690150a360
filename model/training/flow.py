"""Optical flow of the cached frames, cached next to them.

The flow of frame t leads from frame t - 1 to frame t, so that it is known as soon as frame t is: the teacher is also
causal. A stream's first frame has none. Shapes: T frames, P cached pixels; (x, y) in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.atomic import write_atomically
from model.training.pool import results_of

Method = Literal["dis", "raft"]
Flows = NDArray[np.float16]


def estimate_flow(images_TPP3: NDArray[np.uint8], method: Method) -> Flows:
    """(T, P, P, 2). Raises ImportError for `raft` without torchvision."""
    return raft_flow(images_TPP3) if method == "raft" else dis_flow(images_TPP3)


def dis_flow(images_TPP3: NDArray[np.uint8]) -> Flows:
    """Dense inverse search (Kroeger et al., ECCV 2016), OpenCV's medium preset: (T, P, P, 2)."""
    cv2.setNumThreads(1)
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow_TPP2 = np.zeros((*images_TPP3.shape[:3], 2), np.float16)
    before = cv2.cvtColor(images_TPP3[0], cv2.COLOR_RGB2GRAY)
    for t, image in enumerate(images_TPP3[1:], start=1):
        now = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        flow_TPP2[t] = estimator.calc(before, now, np.zeros((*now.shape, 2), np.float32))
        before = now
    return flow_TPP2


def raft_flow(images_TPP3: NDArray[np.uint8]) -> Flows:
    """RAFT (Teed and Deng, ECCV 2020), torchvision's small model with its weights, on a GPU if there is one.

    Raises ImportError without torchvision. RAFT needs at least 128 pixels per side, so smaller images are enlarged.
    """
    from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = raft_small(weights=Raft_Small_Weights.DEFAULT).eval().to(device)
    cached = images_TPP3.shape[1]
    side = max(128, -(-cached // 8) * 8)
    x_TCSS = torch.from_numpy(np.ascontiguousarray(images_TPP3.transpose(0, 3, 1, 2))).float() / 127.5 - 1
    x_TCSS = torch.nn.functional.interpolate(x_TCSS, size=side, mode="bilinear")
    flow_TPP2 = np.zeros((*images_TPP3.shape[:3], 2), np.float16)
    with torch.inference_mode():
        for t in range(1, len(x_TCSS)):
            flow_12SS = network(x_TCSS[t - 1 : t].to(device), x_TCSS[t : t + 1].to(device))[-1]
            flow_12PP = torch.nn.functional.interpolate(flow_12SS, size=cached, mode="bilinear") * (cached / side)
            flow_TPP2[t] = flow_12PP[0].permute(1, 2, 0).cpu().numpy()
    return flow_TPP2


def cache_flow(
    frames: Sequence[Path], method: Method, *, processes: int, on_progress: Callable[[int, int], None]
) -> list[Path]:
    """Cache the flow of each file of cached frames, in order. Existing files are kept."""
    paths = [flow_path(path, method) for path in frames]
    missing = sum(not path.is_file() for path in paths)
    written = results_of(partial(_write_flow, method), frames, 1 if method == "raft" else min(processes, missing))
    for done, _ in enumerate(written, start=1):
        on_progress(done, len(paths))
    return paths


def flow_path(frames: Path, method: Method) -> Path:
    """The file of the flow of a file of cached frames."""
    return frames.with_suffix(f".{method}.npy")


def _write_flow(method: Method, frames: Path) -> None:
    path = flow_path(frames, method)
    if path.is_file():
        return
    with write_atomically(path) as partial_path:
        np.save(partial_path, estimate_flow(np.load(frames, mmap_mode="r"), method))
