"""Draws explanations: one figure with a row for each moment, and an image for each map."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

from model.metrics import Floats
from model.training.figure_style import plain
from model.training.look.explain import Explanation

FIGURE_FILE = "explain.png"
_COLOURS = colormaps["inferno"]
_MOST_OPAQUE = 0.75


def write_explanations(explanations: Sequence[Explanation], title: str, out_dir: Path) -> Path:
    """Write the figure `explain.png`, which is returned, and an image SECONDSs_LABEL_BRANCH.png of each map."""
    out_dir.mkdir(parents=True, exist_ok=True)
    for explanation in explanations:
        label = re.sub(r"\W+", "-", explanation.moment.label)
        for branch, map_SS in explanation.maps.items():
            name = f"{explanation.moment.pts_s:07.2f}s_{label}_{branch}.png"
            imsave(out_dir / name, overlay(explanation.image_SS3, map_SS))
    draw_explanations(explanations, title).savefig(out_dir / FIGURE_FILE, dpi=120)
    return out_dir / FIGURE_FILE


def overlay(image_SS3: NDArray[np.uint8], map_SS: Floats) -> NDArray[np.uint8]:
    """The map, brightest where it is highest, over the image in grey, which stays visible where the map is low. With a
    map of zeros, the result is the grey image.
    """
    grey_SS1 = image_SS3.mean(axis=2, keepdims=True)
    strength_SS = map_SS / max(float(map_SS.max()), 1e-12)
    opacity_SS1 = _MOST_OPAQUE * strength_SS[:, :, None]
    colour_SS3 = _COLOURS(0.25 + 0.75 * strength_SS)[..., :3] * 255
    mixed_SS3 = grey_SS1 * (1 - opacity_SS1) + colour_SS3 * opacity_SS1
    overlay_SS3: NDArray[np.uint8] = np.round(mixed_SS3).astype(np.uint8)
    return overlay_SS3


def draw_explanations(explanations: Sequence[Explanation], title: str) -> Figure:
    """A row for each explanation: the frame, then the map of each branch over it."""
    branches = list(explanations[0].maps)
    rows, columns, side_in = len(explanations), 1 + len(branches), 2.4
    figure = Figure(figsize=(columns * side_in + 0.3, rows * (side_in + 0.32) + 0.75), layout="constrained")
    axes_RC = figure.subplots(rows, columns, squeeze=False)
    for row_axes, explanation in zip(axes_RC, explanations, strict=True):
        moment, image = explanation.moment, explanation.image_SS3
        images = [image, *(overlay(image, explanation.maps[branch]) for branch in branches)]
        for axes, shown in zip(row_axes, images, strict=True):
            axes.imshow(shown)
            axes.set_axis_off()
        row_axes[0].set_title(
            f"{plain(moment.label)}  {moment.score:.2f}  at {moment.pts_s:.1f} s", loc="left", fontsize=10
        )
        for axes, branch in zip(row_axes[1:], branches, strict=True):
            nothing = "" if explanation.maps[branch].any() else ": nothing here"
            axes.set_title(f"{branch}{nothing}", loc="left", fontsize=10, color="0.35")
    figure.suptitle(plain(title, 80), fontsize=12)
    figure.supxlabel("Brightest: strongest evidence for the label, on each map's own scale.", fontsize=8, color="0.35")
    return figure
