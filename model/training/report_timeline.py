"""The report's timelines: scores of one stream against the truth, a lane for each label that plays a part in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from model.config import ModelConfig
from model.training.figure_style import BLUE, ORANGE, RED, plain
from model.training.report_figures import WIDTH_IN
from model.training.report_measures import announced_starts
from model.training.scores import Starts, StreamScores

MOST_LANES = 14
_NOTABLE_SCORE = 0.5


def draw_timeline(stream: StreamScores, config: ModelConfig) -> Figure:
    """Lanes in the order of the first action, then of the highest score, at most `MOST_LANES`."""
    starts = announced_starts(stream, config)
    lanes = _lanes(stream, config, starts)
    figure = Figure(figsize=(WIDTH_IN, 0.46 * max(1, len(lanes)) + 1.0), layout="constrained")
    axes_L = figure.subplots(max(1, len(lanes)), sharex=True, squeeze=False)[:, 0]
    for axes, label in zip(axes_L, lanes, strict=False):
        _draw_lane(axes, stream, config.labels.index(label), label)
        if label in starts:
            decided_s = starts[label].decided_s
            axes.plot(decided_s, np.full(len(decided_s), 1.08), "v", color=RED, markersize=6, clip_on=False)
    if not lanes:
        axes_L[0].set(yticks=[], ylabel="")
        axes_L[0].text(0.5, 0.5, "no action, and no score above 0.5", transform=axes_L[0].transAxes, ha="center")
    axes_L[-1].tick_params(bottom=True, labelbottom=True)
    axes_L[-1].set_xlabel("seconds", fontsize=9)
    handles = [
        Patch(color=ORANGE, alpha=0.45, label="truth"),
        Line2D([], [], color=BLUE, label="score, 0 to 1"),
        Line2D([], [], color=RED, marker="v", linestyle="", label="start announced"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return figure


def _lanes(stream: StreamScores, config: ModelConfig, starts: Mapping[str, Starts]) -> list[str]:
    firsts = {label: start_s for start_s, _, label in sorted(stream.segments, reverse=True)}
    highest = dict(zip(config.labels, stream.scores.max(axis=0), strict=True))
    notable = [
        label
        for label in config.labels[1:]
        if label in firsts or highest[label] >= _NOTABLE_SCORE or (label in starts and len(starts[label].start_s))
    ]
    return sorted(notable, key=lambda label: (firsts.get(label, np.inf), -highest[label]))[:MOST_LANES]


def _draw_lane(axes: Axes, stream: StreamScores, column: int, label: str) -> None:
    for start_s, end_s, name in stream.segments:
        if name == label:
            axes.axvspan(start_s, end_s, color=ORANGE, alpha=0.45, linewidth=0)
    axes.fill_between(stream.pts_s, stream.scores[:, column], color=BLUE, alpha=0.35, linewidth=0)
    axes.plot(stream.pts_s, stream.scores[:, column], color=BLUE, linewidth=1)
    axes.set(ylim=(0, 1.02), yticks=[], xlim=(float(stream.pts_s[0]), float(stream.pts_s[0]) + stream.duration_s))
    axes.set_ylabel(plain(label), rotation=0, ha="right", va="center", fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("0.8")
    axes.tick_params(bottom=False, labelsize=8)
