"""Draws embeddings side by side, with one legend."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TypedDict

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from model.config import BACKGROUND
from model.training.figure_style import CLASS_COLOURS, plain
from model.training.look.embed import Embedding

_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*", "<", ">", "p", "h", "d", "H", "8")
_PANEL_IN, _COLUMN_IN, _ROW_IN = 5.6, 1.7, 0.22


def write_embeddings(embeddings: Sequence[Embedding], out: Path) -> Path:
    """Write the figure to `out` and its data to an .npz file next to it, whose path is returned.

    The arrays: `points` (N, 2), and for each point its `label`, `model` (the panel), `video` and `pts_s`.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_embeddings(embeddings).savefig(out, dpi=150)
    arrays = out.with_suffix(".npz")
    np.savez_compressed(
        arrays,
        points=np.concatenate([e.points_N2 for e in embeddings]),
        label=np.concatenate([np.array(e.labels)[e.label_N] for e in embeddings]),
        model=np.concatenate([np.full(len(e.label_N), e.title) for e in embeddings]),
        video=np.concatenate([e.video_N for e in embeddings]),
        pts_s=np.concatenate([e.pts_s_N for e in embeddings]),
    )
    return arrays


def draw_embeddings(embeddings: Sequence[Embedding]) -> Figure:
    """A panel for each. Colour and shape together identify a class; the background is grey and drawn behind."""
    labels = embeddings[0].labels
    width_in = _PANEL_IN * len(embeddings)
    columns = max(1, int(width_in / _COLUMN_IN))
    legend_in = _ROW_IN * ceil(len(labels) / columns) + 0.2
    figure = Figure(figsize=(width_in, _PANEL_IN + legend_in), layout="constrained")
    panels_1P = figure.subplots(1, len(embeddings), squeeze=False)
    for axes, embedding in zip(panels_1P[0], embeddings, strict=True):
        for index, label in enumerate(labels):
            points_N2 = embedding.points_N2[embedding.label_N == index]
            axes.plot(*points_N2.T, **_look(index), linestyle="", zorder=1 if label == BACKGROUND else 2)
        axes.set(xticks=[], yticks=[], title=plain(embedding.title, 60))
        axes.set_aspect("equal", adjustable="datalim")
        axes.spines[:].set_color("0.8")
    handles = [Line2D([], [], label=plain(label), linestyle="", **_look(i)) for i, label in enumerate(labels)]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return figure


class _Look(TypedDict):
    color: str
    marker: str
    markersize: float
    markeredgewidth: float
    markeredgecolor: str


def _look(index: int) -> _Look:
    """The style of the class at `index`; up to 105 actions are distinguishable."""
    if index == 0:
        return {"color": "0.8", "marker": "o", "markersize": 3.0, "markeredgewidth": 0.0, "markeredgecolor": "0.8"}
    action = index - 1
    colour = CLASS_COLOURS[action % len(CLASS_COLOURS)]
    marker = _MARKERS[(action + action // len(CLASS_COLOURS)) % len(_MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 4.5, "markeredgewidth": 0.3, "markeredgecolor": "white"}
