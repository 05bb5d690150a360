"""The figures of the report, about a model's scores and starts. Each function draws one."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from model.config import BACKGROUND
from model.metrics import Floats
from model.training.evaluation.evaluate import EvaluationReport
from model.training.evaluation.scores import StreamScores
from model.training.figure_style import BLUE, GREY, ORANGE, RED, WIDTH_IN, plain, tidy
from model.training.report.log import StageLog
from model.training.report.measures import joined_frames

_PER_ROW = 5
_MOST_NUMBERED = 25


def draw_losses(log: StageLog) -> Figure:
    """A panel for each quantity that the stage logged, over its steps."""
    columns = min(_PER_ROW, len(log.curves))
    rows = ceil(len(log.curves) / columns)
    figure = Figure(figsize=(WIDTH_IN * columns / _PER_ROW + 0.6, 1.9 * rows), layout="constrained")
    axes_N = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, (steps, values)) in zip(axes_N[: len(log.curves)], log.curves.items(), strict=True):
        axes.plot(steps, values, color=BLUE if name == "loss" else GREY, marker="." if len(steps) < 3 else "")
        axes.set_title(plain(name.replace("_", " ")), loc="left", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        tidy(axes)
    for axes in axes_N[len(log.curves) :]:
        axes.set_axis_off()
    return figure


def draw_average_precisions(report: EvaluationReport) -> Figure:
    """Bars of each class, the best on top: frames, and starts within a second. A class that never occurs has none."""
    classes = sorted(report.per_class.items(), key=lambda item: -1.0 if item[1].frame_ap is None else item[1].frame_ap)
    figure = Figure(figsize=(WIDTH_IN, 0.36 * len(classes) + 1.1), layout="constrained")
    axes = figure.subplots()
    rows_K = np.arange(len(classes))
    frame_K = np.array([np.nan if c.frame_ap is None else c.frame_ap for _, c in classes])
    start_K = np.array([np.nan if c.start_ap["1"] is None else c.start_ap["1"] for _, c in classes])
    axes.barh(rows_K + 0.2, np.nan_to_num(frame_K), 0.38, color=BLUE, label="frame AP")
    axes.barh(
        rows_K - 0.2, np.nan_to_num(start_K), 0.38, color=ORANGE, hatch="///", edgecolor="w", label="start AP, 1 s"
    )
    for row, value in zip(rows_K, frame_K, strict=True):
        text = "never occurs" if np.isnan(value) else f"{value:.2f}"
        axes.text(np.nan_to_num(value) + 0.008, row + 0.2, text, va="center", fontsize=8, color="0.3")
    axes.set_yticks(rows_K, [plain(label) for label, _ in classes])
    axes.set(xlim=(0, 1.06), ylim=(-0.6, len(classes) - 0.4), xlabel="average precision")
    figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    tidy(axes)
    return figure


def draw_precision_recall(streams: Sequence[StreamScores], labels: Sequence[str], report: EvaluationReport) -> Figure:
    """A small panel for each class, in the order of the labels."""
    actions = [(k, label) for k, label in enumerate(labels) if label != BACKGROUND]
    columns = min(_PER_ROW, len(actions))
    rows = ceil(len(actions) / columns)
    size_in = (WIDTH_IN * columns / _PER_ROW + 0.6, 1.85 * rows + 0.4)
    figure = Figure(figsize=size_in, layout="constrained")
    axes_N = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (k, label) in zip(axes_N[: len(actions)], actions, strict=True):
        scores_T, truth_T = joined_frames(streams, k, label)
        frame_ap = report.per_class[label].frame_ap
        if truth_T.any() and not np.isnan(scores_T).any():
            precision, recall, _ = precision_recall_curve(truth_T, scores_T)
            axes.step(recall, precision, where="post", color=BLUE)
            axes.fill_between(recall, precision, step="post", color=BLUE, alpha=0.12, linewidth=0)
            axes.axhline(float(truth_T.mean()), color=GREY, linestyle=":", linewidth=1)
        else:
            axes.text(0.5, 0.5, "never occurs" if not truth_T.any() else "scores are NaN", ha="center", color="0.4")
        axes.set_title(plain(label) + ("" if frame_ap is None else f"  {frame_ap:.2f}"), loc="left", fontsize=8)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        tidy(axes)
    for axes in axes_N[len(actions) :]:
        axes.set_axis_off()
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    return figure


def draw_delays(delays_s: Floats) -> Figure:
    """A histogram in bins of 0.1 s, or wider ones where delays spread over more than 6 s."""
    figure = Figure(figsize=(WIDTH_IN * 0.62, 2.9), layout="constrained")
    axes = figure.subplots()
    low_s, high_s = np.floor(2 * float(delays_s.min())) / 2, np.ceil(2 * float(delays_s.max() + 0.1)) / 2
    edges_s = np.linspace(low_s, high_s, min(60, round(10 * (high_s - low_s))) + 1)
    axes.hist(delays_s, bins=edges_s.tolist(), color=BLUE)
    for value_s, name, style in (
        (np.median(delays_s), "median", "-"),
        (np.percentile(delays_s, 90), "90 %", "--"),
    ):
        axes.axvline(float(value_s), color=RED, linestyle=style, label=f"{name}: {value_s:.2f} s")
    axes.axvline(0, color="0.2", linewidth=0.8)
    axes.set(xlabel="decided after the true start, seconds", ylabel="correct starts")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)
    return figure


def draw_confusion(counts_KK: NDArray[np.int64], labels: Sequence[str]) -> Figure:
    """Shares of each true label's frames, as numbers too where they fit. Rows of labels that never occur are crossed
    out.
    """
    totals_K1 = counts_KK.sum(axis=1, keepdims=True)
    shares_KK = counts_KK / np.maximum(totals_K1, 1)
    names, fontsize = [plain(label) for label in labels], float(np.clip(9.0 / len(labels) * 72 * 0.6, 6, 9))
    margin_in = max(map(len, names)) * fontsize * 0.65 / 72 + 0.5
    cell_in = float(np.clip((WIDTH_IN - margin_in) / len(labels), 0.16, 0.6))
    side_in = cell_in * len(labels) + margin_in
    figure = Figure(figsize=(side_in + 0.6, side_in), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares_KK, cmap="Blues", vmin=0, vmax=1)
    if len(labels) > _MOST_NUMBERED:
        figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    else:
        for row, column in np.ndindex(shares_KK.shape):
            percent = round(100 * shares_KK[row, column])
            if percent:
                dark = shares_KK[row, column] > 0.55
                axes.text(column, row, percent, ha="center", va="center", fontsize=8, color="w" if dark else "0.15")
    for row in np.flatnonzero(totals_K1[:, 0] == 0):
        axes.plot([-0.5, len(labels) - 0.5], [row, row], color="0.6", linewidth=1)
    places = np.arange(len(labels))
    axes.set_xticks(places, names, rotation=90, fontsize=fontsize)
    axes.set_yticks(places, names, fontsize=fontsize)
    axes.set(xlabel="highest score", ylabel="truth")
    axes.tick_params(length=0)
    return figure
