"""All measurements of one run, and how they are shown."""

import asyncio
import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from service.bench.decode import decode_fps, decoder_rss_mb, make_clips
from service.bench.live import LiveEffort, measure_live
from service.bench.machine import machine
from service.bench.models import Effort, measure_models
from service.worker import MAX_FAST_SESSIONS

SAMPLE = Path(__file__).parents[2] / "samples" / "mocap.mp4"
Report = dict[str, Any]
"""What `cake bench --json` prints."""


def run(
    parts: Collection[str], *, quick: bool, model: str, sample: Path | None, on_stage: Callable[[str], None]
) -> Report:
    """Measure these parts (models, decode, service) on one thread. `quick` only shows that it works.

    `model` and `sample` are for the part `service`; see `measure_live`, also for what it may raise. Without a `sample`
    it takes the one of the repository.
    """
    torch.set_num_threads(1)
    report: Report = {"machine": asdict(machine())}
    if "models" in parts:
        on_stage("models")
        speeds = measure_models(Effort(1, 0.0) if quick else Effort(7, 0.7))
        report["models"] = {name: asdict(speed) for name, speed in speeds.items()}
    with tempfile.TemporaryDirectory(prefix="cake-bench-") as name:
        folder = Path(name)
        if "decode" in parts:
            on_stage("decoding")
            clips = make_clips(folder, 0.2 if quick else 10.0)
            report["decode_fps"] = {size: decode_fps(path, 1 if quick else 5) for size, path in clips.items()}
            report["decoder_rss_mb"] = asyncio.run(decoder_rss_mb(clips["1080p"]))
        if "service" in parts:
            on_stage("the service")
            if sample is None and SAMPLE.is_file():
                sample = SAMPLE
            effort = LiveEffort(2.0, 0.5, 4.0, 2) if quick else LiveEffort(40.0, 10.0, 120.0, MAX_FAST_SESSIONS)
            latency, livez = asyncio.run(measure_live(folder, model, sample, effort))
            report["event_latency_ms"], report["livez_ms"] = asdict(latency), asdict(livez)
    return report


def tables(report: Report) -> list[Table | str]:
    """The report for people."""
    shown: list[Table | str] = []
    if "models" in report:
        columns = ("model", "pixels", "batch 1", "batch 8", "clips", "ratio", "as the paper counts")
        table = _table("Models: decisions per second on one core", *columns)
        for name, speed in report["models"].items():
            steps = speed["steps_per_core_second"]
            decisions = speed["clip_decisions_per_core_second"]
            paper = f"{speed['paper_fps']:.1f} fps"
            values = (speed["image_size"], steps["1"], steps["8"], decisions, speed["ratio"], paper)
            table.add_row(name, *map(str, values))
        shown.append(table)
    if "decode_fps" in report:
        table = _table("Decoding, on one core", *report["decode_fps"], "decoder's memory at 1080p")
        rates = [f"{fps:.0f} fps" for fps in report["decode_fps"].values()]
        table.add_row(*rates, f"{report['decoder_rss_mb']:.0f} MB")
        shown.append(table)
    if "livez_ms" in report:
        latency, livez = report["event_latency_ms"], report["livez_ms"]
        table = _table("The service", "", "median", "high percentile", "of")
        live = f"{latency['events']} events of a live 720p30 session"
        table.add_row("frame to event", f"{latency['p50']} ms", f"95 %: {latency['p95']} ms", live)
        full = f"{livez['requests']} requests beside {livez['sessions']} fast sessions, {livez['steps_per_s']} steps/s"
        table.add_row("GET /livez", f"{livez['p50']} ms", f"99 %: {livez['p99']} ms", full)
        shown.append(table)
    on = report["machine"]
    threads = f"{on['threads']} thread of {on['cores']} cores, load {on['load_1min']} before"
    return [*shown, f"{on['cpu']}, {threads}; torch {on['torch']}, Python {on['python']}"]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table
