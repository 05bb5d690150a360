"""Plots the results of `cake bench` over sessions, clients and commits. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from model.training.figure_style import BLUE, GREY, ORANGE, RED, WIDTH_IN, tidy
from service.bench.load import MOST_AGE_MS, MOST_P95_MS

_ROW_IN = 3.0
_COLOURS = (BLUE, ORANGE, RED)


def write_plot(report: dict[str, Any], out: Path) -> None:
    """Plot two panels, time and memory, for each video size and for the fan-out, and one panel for the store. Creates
    folders.
    """
    rows = [(f"sessions of {size}30 on one core", found["loads"]) for size, found in report.get("load", {}).items()]
    cameras = report.get("cameras", {})
    count = len(rows) + len(cameras) + ("fan_out" in report) + ("store" in report)
    figure = Figure(figsize=(WIDTH_IN, _ROW_IN * max(1, count)), layout="constrained")
    axes_RC = figure.subplots(max(1, count), 2, squeeze=False)
    for axes_C, (title, loads) in zip(axes_RC[: len(rows)], rows, strict=True):
        _load(axes_C[0], title, loads)
        _memory(axes_C[1], title, [(load["sessions"], load["memory_mb"]) for load in loads])
    row = len(rows)
    for size, found in cameras.items():
        title = f"percent of time in which cameras of {size}30 are static"
        _quiet(axes_RC[row][0], title, found["costs"], "decoder_share", "share of a core per decoder")
        _quiet(axes_RC[row][1], title, found["costs"], "cameras_per_core", "cameras per core")
        row += 1
    if "fan_out" in report:
        fan_out = report["fan_out"]
        _times(axes_RC[row][0], "clients of one session", fan_out, "clients", {"p50_ms": "median", "p95_ms": "95 %"})
        _memory(axes_RC[row][1], "clients of one session", [(one["clients"], one["memory_mb"]) for one in fan_out])
        row += 1
    if "store" in report:
        names = {"commit_p50_ms": "commit, median", "commit_p95_ms": "95 %", "notified_p95_ms": "notified, 95 %"}
        _times(axes_RC[row][0], "sessions that commit concurrently", report["store"], "committers", names)
        _line(axes_RC[row][1], report["store"], "committers", "commits_per_s", BLUE, "commits per second")
        axes_RC[row][1].set(xlabel="sessions that commit concurrently", ylabel="commits per second")
        axes_RC[row][1].set_ylim(bottom=0)
    for axes in axes_RC.flat:
        tidy(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    on = report["machine"]
    figure.suptitle(f"cake bench on one core of {on['cpu']}", fontsize=10)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)


def _load(axes: Axes, title: str, loads: Sequence[dict[str, Any]]) -> None:
    names = {"p50_ms": "events, median", "p95_ms": "95 %", "oldest_ms": "oldest frame"}
    _times(axes, title, loads, "sessions", names)
    for limit_ms, text in ((MOST_P95_MS, "95 % of events"), (MOST_AGE_MS, "every frame")):
        axes.axhline(limit_ms, color=GREY, linestyle=":", linewidth=1)
        where = (0.01, limit_ms)
        axes.annotate(f"limit for {text}", where, xycoords=("axes fraction", "data"), fontsize=7, va="bottom")


def _times(axes: Axes, title: str, points: Sequence[dict[str, Any]], along: str, names: dict[str, str]) -> None:
    for (name, label), colour in zip(names.items(), _COLOURS[: len(names)], strict=True):
        _line(axes, points, along, name, colour, label)
    axes.set_yscale("log")
    axes.set_xlabel(title)
    axes.set_ylabel("ms")
    axes.legend(fontsize=7, frameon=False)


def _quiet(axes: Axes, title: str, costs: Sequence[dict[str, Any]], name: str, label: str) -> None:
    for quiet, colour in zip(("off", "auto"), _COLOURS, strict=False):
        points = [cost for cost in costs if cost["quiet"] == quiet]
        _line(axes, points, "static_percent", name, colour, f"CAKE_QUIET={quiet}")
    axes.set(xlabel=title, ylabel=label)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, frameon=False)


def _line(axes: Axes, points: Sequence[dict[str, Any]], along: str, name: str, colour: str, label: str) -> None:
    axes.plot([p[along] for p in points], [p[name] for p in points], marker="o", color=colour, label=label)


def _memory(axes: Axes, title: str, points: Sequence[tuple[int, float]]) -> None:
    axes.plot([count for count, _ in points], [mb for _, mb in points], marker="s", color=BLUE)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(title)
    axes.set_ylabel("memory of the service, MB")
