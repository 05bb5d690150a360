"""The final report of a training run: one HTML file with figures and tables, which needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model.atomic import write_text_atomically
from model.config import ModelConfig
from model.training.evaluation.evaluate import EvaluationReport, total_of
from model.training.evaluation.scores import StreamScores
from model.training.report.figures import (
    draw_average_precisions,
    draw_confusion,
    draw_delays,
    draw_losses,
    draw_precision_recall,
)
from model.training.report.log import StageLog, read_logs
from model.training.report.measures import confusion, start_delays_s, telling_streams
from model.training.report.page import Section, Table, plot_of, render_page
from model.training.report.timeline import MOST_LANES, draw_timeline
from model.training.run_records import RECIPE_FILE


def write_report(
    run_dir: Path, streams: Sequence[StreamScores], config: ModelConfig, report: EvaluationReport, out: Path
) -> None:
    """Write the report of a run to `out`, atomically.

    Args:
        run_dir: the run's folder. Its stages' logs and its recipe are shown where they exist.
        streams: scored streams, the ones that `report` was computed from.
        config: the model's configuration, with the start rules that the report's starts come from.
        report: the result of `evaluate` for `streams`.

    Raises:
        ValueError: no stream.
    """
    if not streams:
        raise ValueError("a report needs at least one scored stream")
    sections = [
        _losses(run_dir),
        _classes(report),
        _precision_recall(streams, config, report),
        _delays(streams, config),
        _confusion(streams, config),
        _timelines(streams, config),
        _start_rules(config),
        *_settings(run_dir, config),
    ]
    minutes = sum(stream.duration_s for stream in streams) / 60
    subtitle = f"Action classes: {len(config.labels) - 1}. Streams measured: {len(streams)}, of {minutes:.1f} minutes."
    write_text_atomically(out, render_page(f"Report on {config.name}", subtitle, _tiles(report), sections))


def _tiles(report: EvaluationReport) -> list[tuple[str, str]]:
    delay_s = report.start_delay_s.median
    return [
        (_percent(report.frame_map), "frame mAP, percent"),
        (_percent(report.frame_cmap), "calibrated frame mAP"),
        *((_percent(value), f"start mAP within {offset} s") for offset, value in report.start_map.items()),
        ("–" if delay_s is None else f"{delay_s:.2f} s", "median start delay"),
        (_per_minute(report.false_starts_per_hour), "false starts a minute"),
    ]


def _per_minute(per_hour: float | None) -> str:
    return "–" if per_hour is None else f"{per_hour / 60:.2f}"


def _losses(run_dir: Path) -> Section:
    logs = read_logs(run_dir)
    images = [plot_of(log.stage, _log_caption(log), draw_losses(log)) for log in logs if log.curves]
    text = "The logged values of each stage over its steps, in the order of training."
    return Section("Training", text if images else "This run has no logs of its stages.", images)


def _log_caption(log: StageLog) -> str:
    last_step = max(steps[-1] for steps, _ in log.curves.values())
    unread = f" {log.unreadable_lines} lines of the log could not be read." if log.unreadable_lines else ""
    return f"{last_step} steps in {log.seconds / 60:.1f} minutes.{unread}"


def _classes(report: EvaluationReport) -> Section:
    heads = ["class", "frame AP", "frame cAP", *(f"start {o} s" for o in report.start_map), "actions", "found", "false"]
    rows = [
        _row(label, (c.frame_ap, c.frame_cap, *c.start_ap.values()), (c.actions, c.found, c.false_starts))
        for label, c in report.per_class.items()
    ]
    classes = report.per_class.values()
    totals = (
        sum(c.actions for c in classes),
        total_of(c.found for c in classes),
        total_of(c.false_starts for c in classes),
    )
    foot = _row("all", (report.frame_map, report.frame_cmap, *report.start_map.values()), totals)
    text = (
        "Average precisions in percent: of frames; of frames with negatives weighed down to the positives' number; of "
        "ranked starts within so many seconds of the truth. Found and false are announced starts at the shipped "
        "thresholds. The last row has means and sums. By tenths of the actions, from their first to their last, the "
        f"calibrated average precision is {', '.join(map(_percent, report.stage_cmap))}."
    )
    bars = plot_of("", "Classes ordered by the average precision of their frames.", draw_average_precisions(report))
    return Section("Classes", text, [bars], Table(heads, rows, foot))


def _row(name: str, shares: Sequence[float | None], counts: Sequence[int | None]) -> list[str]:
    return [name, *map(_percent, shares), *("–" if count is None else str(count) for count in counts)]


def _precision_recall(streams: Sequence[StreamScores], config: ModelConfig, report: EvaluationReport) -> Section:
    caption = (
        "Over frames. Next to each name: average precision. Dotted: the share of positive frames, which is chance."
    )
    curves = plot_of("", caption, draw_precision_recall(streams, config.labels, report))
    return Section("Precision and recall", "Precision and recall of frames at each threshold.", [curves])


def _delays(streams: Sequence[StreamScores], config: ModelConfig) -> Section:
    delays_s = start_delays_s(streams, config)
    title = "Start delay"
    if not len(delays_s):
        return Section(title, "No start was found at the shipped thresholds.")
    text = f"When the {len(delays_s)} correct starts were decided, relative to the start of the action."
    return Section(title, text, [plot_of("", "All classes together.", draw_delays(delays_s))])


def _confusion(streams: Sequence[StreamScores], config: ModelConfig) -> Section:
    text = (
        "For each true label (a row), the label of the highest score, as a share of the row's frames, in percent where "
        "there is room. A frame with several labels counts for the last one to start; ambiguous frames are left out."
    )
    drawn = draw_confusion(confusion(streams, config.labels), config.labels)
    return Section("Confusion", text, [plot_of("", "A line through a row: the label never occurs.", drawn)])


def _timelines(streams: Sequence[StreamScores], config: ModelConfig) -> Section:
    images = [
        plot_of(f"{name}: {stream.name}", _quality(quality), draw_timeline(stream, config))
        for name, stream, quality in telling_streams(streams, config.labels)
    ]
    text = (
        "The median, the best and the worst stream by the average precision of all pairs of a frame and an action "
        "label. A lane for each label that occurs, is announced, or reaches a score of 0.5; the first "
        f"{MOST_LANES} of them."
    )
    return Section("Timelines", text, images)


def _quality(quality: float) -> str:
    return "" if np.isnan(quality) else f"Average precision of frames and labels pooled: {quality:.2f}."


def _start_rules(config: ModelConfig) -> Section:
    rows = [
        [label, f"{r.enter:g}", f"{r.leave:g}", f"{r.min_duration_s:g}", f"{r.refractory_s:g}"]
        for label, r in config.start_rules.items()
    ]
    text = "Thresholds of the score, and times in seconds, chosen on validation data."
    if not rows:
        return Section("Start rules", "The model has none: it announces nothing.")
    return Section("Start rules", text, table=Table(["class", "enter", "leave", "minimum", "refractory"], rows))


def _settings(run_dir: Path, config: ModelConfig) -> list[Section]:
    recipe = run_dir / RECIPE_FILE
    values = {"Configuration": {k: v for k, v in config.to_json().items() if k != "start_rules"}}
    if recipe.is_file():
        values = {"Recipe": json.loads(recipe.read_text(encoding="utf-8")), **values}
    texts = {"Recipe": "How the run was trained.", "Configuration": "The configuration in the checkpoint."}
    return [
        Section(title, texts[title], table=Table(["setting", "value"], _flat(tree)), folded=True)
        for title, tree in values.items()
    ]


def _flat(tree: Mapping[str, object], prefix: str = "") -> list[list[str]]:
    rows = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            rows.append([f"{prefix}{name}", text])
    return rows


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
