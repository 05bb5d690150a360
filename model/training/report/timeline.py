"""The report's timelines: scores of one stream compared with the truth, with a lane for each label that occurs in
either.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from model.config import ModelConfig
from model.thresholds import DecidedStarts
from model.training.evaluation.scores import StreamScores
from model.training.figure_style import BLUE, ORANGE, RED, WIDTH_IN, plain
from model.training.report.measures import announced_starts

MOST_LANES = 14
_NOTABLE_SCORE = 0.5
_LANE_IN = 0.42
_SCORE_HEIGHT = 0.7
"""Share of a lane's height; the rest is for the marks of announced starts."""


def draw_timeline(stream: StreamScores, config: ModelConfig) -> Figure:
    """Lanes in the order of the first action, then of the highest score, at most `MOST_LANES`."""
    starts = announced_starts(stream, config)
    lanes = _lanes(stream, config, starts)
    figure = Figure(figsize=(WIDTH_IN, _LANE_IN * max(1, len(lanes)) + 1.0), layout="constrained")
    axes = figure.subplots()
    for lane, label in enumerate(lanes):
        _draw_lane(axes, -lane, stream, config.labels.index(label), label)
        if label in starts:
            decided_s = starts[label].decided_s
            axes.plot(decided_s, np.full(len(decided_s), _SCORE_HEIGHT + 0.1 - lane), "v", color=RED, markersize=6)
    if not lanes:
        axes.text(0.5, 0.5, "no action, and no score of 0.5", transform=axes.transAxes, ha="center", va="center")
    first_s = float(stream.pts_s[0])
    axes.set(xlim=(first_s, first_s + max(stream.duration_s, 0.1)), ylim=(0.9 - max(1, len(lanes)), 1))
    axes.set_yticks([_SCORE_HEIGHT / 2 - lane for lane in range(len(lanes))], [plain(label) for label in lanes])
    axes.set_xlabel("seconds", fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.tick_params(axis="y", length=0)
    handles = [
        Patch(color=ORANGE, alpha=0.45, label="truth"),
        Line2D([], [], color=BLUE, label="score, 0 to 1"),
        Line2D([], [], color=RED, marker="v", linestyle="", label="start announced"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return figure


def _lanes(stream: StreamScores, config: ModelConfig, starts: Mapping[str, DecidedStarts]) -> list[str]:
    firsts = {label: start_s for start_s, _, label in sorted(stream.segments, reverse=True)}
    highest = dict(zip(config.labels, stream.scores.max(axis=0), strict=True))
    notable = [
        label
        for label in config.labels[1:]
        if label in firsts or highest[label] >= _NOTABLE_SCORE or (label in starts and len(starts[label].start_s))
    ]
    return sorted(notable, key=lambda label: (firsts.get(label, np.inf), -highest[label]))[:MOST_LANES]


def _draw_lane(axes: Axes, base: int, stream: StreamScores, column: int, label: str) -> None:
    segments_s = [(start_s, end_s - start_s) for start_s, end_s, name in stream.segments if name == label]
    axes.broken_barh(segments_s, (base, _SCORE_HEIGHT), color=ORANGE, alpha=0.45, linewidth=0)
    scores_T = base + _SCORE_HEIGHT * stream.scores[:, column]
    axes.fill_between(stream.pts_s, base, scores_T, color=BLUE, alpha=0.35, linewidth=0)
    axes.plot(stream.pts_s, scores_T, color=BLUE, linewidth=1)
