"""A network's view of a cached image: the whole image, as it is served, or a random crop with altered colours.

Images are cached `MARGIN` pixels larger than the network's input. RGB and optical flow of the same view show the
same place. Shapes: T frames, C channels (3 of RGB, 2 of flow), P cached pixels, S pixels of the input, J joints,
G = S / 8 cells of the coverage mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.training.layouts.annotations import Targets
from model.video.preprocess import normalise

_Floats = NDArray[np.float32]

CELL = 8
"""Pixels of one cell of the coverage mask; crops start at multiples of it, so that cells stay whole."""
MARGIN = 2 * CELL
WHOLE_SHARE = 0.5
FLOW_LIMIT_PX = 20.0


@dataclass(frozen=True)
class View:
    """The visible part of a cached frame, and its colours."""

    corner: tuple[int, int] | None
    """Top and left of the crop in pixels; None for the whole image, scaled down."""
    colours: tuple[int, int, int] = (0, 1, 2)
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    flip: bool = False
    """Mirrored: left and right are swapped."""


def draw_view(rng: np.random.Generator, whole_share: float = WHOLE_SHARE, flip_share: float = 0.0) -> View:
    """A random view: the whole frame with probability `whole_share`, else a crop; mirrored with `flip_share`."""
    top, left = (CELL * int(rng.integers(MARGIN // CELL + 1)) for _ in range(2))
    first, second, third = (int(colour) for colour in rng.permutation(3))
    red, green, blue = (float(gain) for gain in rng.uniform(0.8, 1.25, size=3))
    whole = rng.random() < whole_share
    flip = flip_share > 0 and bool(rng.random() < flip_share)
    return View(None if whole else (top, left), (first, second, third), (red, green, blue), flip)


def see_images(images_TPPC: NDArray[Any], view: View) -> _Floats:
    """The network's input (T, C, S, S): normalised RGB of uint8 images, or flow of pixels scaled to +-1."""
    size = images_TPPC.shape[1] - MARGIN
    if view.flip:
        images_TPPC = images_TPPC[:, :, ::-1]
    if view.corner is not None:
        top, left = view.corner
        images_TPPC = images_TPPC[:, top : top + size, left : left + size]
    if images_TPPC.shape[-1] == 2:
        flow_TCSS = _see_flow(images_TPPC, size)
        return flow_TCSS * np.array([-1.0, 1.0], np.float32)[:, None, None] if view.flip else flow_TCSS
    images_TCSS = normalise(images_TPPC[..., view.colours]) * np.array(view.gains, np.float32)[:, None, None]
    return _resize(images_TCSS, size)


def _see_flow(flow_px_TPP2: NDArray[Any], size: int) -> _Floats:
    """Clamped to +-20 pixels and scaled to +-1, as in the reference. In a smaller image, motion covers fewer pixels."""
    zoom = size / flow_px_TPP2.shape[1]
    flow_TCPP = np.ascontiguousarray(flow_px_TPP2.transpose(0, 3, 1, 2), dtype=np.float32) * np.float32(zoom)
    return _resize(np.clip(flow_TCPP, -FLOW_LIMIT_PX, FLOW_LIMIT_PX) / np.float32(FLOW_LIMIT_PX), size)


def see_targets(targets: Targets, view: View, size: int) -> tuple[_Floats, _Floats]:
    """The joints (T, J, 2) in [-1, 1] of the view, and the share (T, G, G) of each cell that the figure covers."""
    cached = size + MARGIN
    joints_TJ2 = targets.joints_TJ2
    mask_T1GG = _resize(targets.mask_TGG[:, None].astype(np.float32) / np.float32(255), cached // CELL)
    if view.flip:
        joints_TJ2, mask_T1GG = joints_TJ2 * np.array([-1, 1], np.float32), mask_T1GG[..., ::-1].copy()
    if view.corner is None:
        return joints_TJ2, _resize(mask_T1GG, size // CELL)[:, 0]
    top, left = view.corner
    middle = np.array([left + size / 2, top + size / 2], dtype=np.float32) * 2 / cached - 1
    rows, columns = (slice(edge // CELL, (edge + size) // CELL) for edge in (top, left))
    return ((joints_TJ2 - middle) * (cached / size)).astype(np.float32), mask_T1GG[:, 0, rows, columns]


def _resize(images_TCSS: _Floats, size: int) -> _Floats:
    if images_TCSS.shape[-1] == size:
        return images_TCSS
    sized: _Floats = F.interpolate(torch.from_numpy(images_TCSS), size=size, mode="bilinear", antialias=True).numpy()
    return sized
