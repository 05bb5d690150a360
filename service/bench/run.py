"""Runs the measurements of `cake bench` and formats them."""

import asyncio
import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from service.bench.cameras import LEAD_S, SCHEDULES, CamerasEffort, measure_cameras
from service.bench.core_time import Effort
from service.bench.decode import decode_fps, decoder_rss_mb, make_clips
from service.bench.fan_out import measure_fan_out
from service.bench.live import LiveEffort, measure_live
from service.bench.load import MOST_SESSIONS, LoadEffort, find_max_sessions
from service.bench.machine import machine
from service.bench.peers.process import run_peers
from service.bench.review import measure_review
from service.bench.store import measure_store
from service.bench.subscriptions import measure_subscriptions
from service.worker.worker import MAX_FAST_STREAMS

SAMPLE = Path(__file__).parents[2] / "samples" / "mocap.mp4"
SUBSCRIPTIONS, EVENTS_PER_S = (0, 100, 1000), 200.0
FAN_OUTS = (1, 10, 100, 300, 1000)
COMMITTERS = (1, 16, 48)
LOAD_SIZES = ("720p", "360p")
CAMERAS = CamerasEffort(LOAD_SIZES, tuple(SCHEDULES), cameras=1, lead_s=LEAD_S, window_s=200.0, starting_s=120.0)
QUICK_CAMERAS = CamerasEffort(("360p",), (90,), cameras=1, lead_s=0.0, window_s=2.0, starting_s=60.0)
Report = dict[str, Any]
"""What `cake bench --json` prints."""


def run_bench(
    parts: Collection[str],
    *,
    quick: bool,
    model: str,
    sample: Path | None,
    store_url: str | None,
    on_stage: Callable[[str], None],
) -> Report:
    """Measure these parts, as `cake bench --only` names them. `quick`: show that it works.

    `model` is the one that the service runs; `store_url` is the store to measure, by default a new file; `sample` is
    the live session's video in the part `service`, by default that of the repository. Raises the same errors as
    `measure_live`, `measure_store` and `run_peers`.
    """
    report: Report = {"machine": asdict(machine())}
    if "models" in parts:
        from service.bench.models import measure_models  # needs PyTorch, unlike the other parts

        on_stage("models")
        speeds = measure_models(Effort(1, 0.0) if quick else Effort(7, 0.7))
        report["models"] = {name: asdict(speed) for name, speed in speeds.items()}
    with tempfile.TemporaryDirectory(prefix="cake-bench-") as name:
        folder = Path(name)
        if "peers" in parts:
            on_stage("peers")
            report["peers"] = run_peers(folder, quick=quick)
        if "decode" in parts:
            on_stage("decoding")
            clips = make_clips(folder, 2.0 if quick else 10.0)
            report["decode_fps"] = {size: decode_fps(path, 1 if quick else 5) for size, path in clips.items()}
            report["decoder_rss_mb"] = asyncio.run(decoder_rss_mb(clips["1080p"]))
        if "service" in parts:
            on_stage("the service")
            if sample is None and SAMPLE.is_file():
                sample = SAMPLE
            effort = LiveEffort(2.0, 0.5, 4.0, 2) if quick else LiveEffort(40.0, 10.0, 120.0, MAX_FAST_STREAMS)
            report |= asdict(asyncio.run(measure_live(folder, model, sample, effort)))
        if "load" in parts:
            load_effort = LoadEffort(10.0, 0.0, 3.0, 1) if quick else LoadEffort(150.0, 15.0, 15.0, MOST_SESSIONS)
            report["load"] = {}
            for size in LOAD_SIZES:
                on_stage(f"sessions of {size} on one core")
                report["load"][size] = asdict(asyncio.run(find_max_sessions(folder, model, size, load_effort)))
        if "cameras" in parts:
            cameras_effort = QUICK_CAMERAS if quick else CAMERAS
            report["cameras"] = {}
            for size in cameras_effort.sizes:
                on_stage(f"cameras of {size}")
                found = asyncio.run(measure_cameras(folder, model, size, cameras_effort))
                report["cameras"][size] = asdict(found)
        if "fan-out" in parts:
            on_stage("many clients of one session")
            clients, window_s = ((1, 3), 3.0) if quick else (FAN_OUTS, 10.0)
            report["fan_out"] = [asdict(c) for c in asyncio.run(measure_fan_out(folder, model, clients, window_s))]
        if "review" in parts:
            on_stage("events with clips, feedback and filters")
            found_review = asyncio.run(measure_review(folder, model, 12.0 if quick else 180.0))
            report["review"] = asdict(found_review)
        if "subscriptions" in parts:
            on_stage("subscriptions")
            counts, rate_hz, window_s = ((0, 10), 20.0, 2.0) if quick else (SUBSCRIPTIONS, EVENTS_PER_S, 20.0)
            costs = asyncio.run(measure_subscriptions(folder, model, counts, rate_hz, window_s))
            report["subscriptions"] = [asdict(cost) for cost in costs]
        if "store" in parts:
            on_stage("the store")
            committers, duration_s = ((1, 2), 0.5) if quick else (COMMITTERS, 8.0)
            report["store"] = [
                asdict(asyncio.run(measure_store(store_url, folder, count, duration_s))) for count in committers
            ]
    return report


def tables(report: Report) -> list[Table | str]:
    """The report as tables for people."""
    shown: list[Table | str] = []
    if "models" in report:
        columns = ("model", "pixels", "precision", "batch 1", "batch 8", "clips", "ratio", "as the paper counts")
        table = _table("Models: decisions per second on one core", *columns)
        for name, speed in report["models"].items():
            steps = speed["steps_per_core_second"]
            decisions = speed["clip_decisions_per_core_second"]
            paper = f"{speed['paper_fps']:.1f} fps"
            values = (speed["image_size"], speed["precision"], steps["1"], steps["8"], decisions, speed["ratio"], paper)
            table.add_row(name, *map(str, values))
        shown.append(table)
    if "peers" in report:
        shown += _peer_tables(report["peers"])
    if "decode_fps" in report:
        table = _table("Decoding, on one core", *report["decode_fps"], "decoder's memory at 1080p")
        rates = [f"{fps:.0f} fps" for fps in report["decode_fps"].values()]
        table.add_row(*rates, f"{report['decoder_rss_mb']:.0f} MB")
        shown.append(table)
    if "livez_ms" in report:
        latency, livez = report["event_latency_ms"], report["livez_ms"]
        table = _table("The service", "", "median", "high percentile", "measured")
        live = f"{latency['events']} events of a live 720p30 session"
        table.add_row("frame to event", f"{latency['p50']} ms", f"95 %: {latency['p95']} ms", live)
        full = f"{livez['requests']} requests next to {livez['sessions']} fast sessions, {livez['steps_per_s']} steps/s"
        table.add_row("GET /livez", f"{livez['p50']} ms", f"99 %: {livez['p99']} ms", full)
        table.add_row("start to ready", f"{report['ready_after_s']} s", "", "")
        shown.append(table)
    for size, found in report.get("load", {}).items():
        columns = ("sessions", "latency, median", "95 %", "maximum", "frames", "core used", "memory", "")
        table = _table(f"Live sessions of {size}30 on one core: {found['sessions']} sustained", *columns)
        for load in found["loads"]:
            table.add_row(
                str(load["sessions"]),
                *(f"{load[name]:.0f} ms" for name in ("p50_ms", "p95_ms", "oldest_ms")),
                *(f"{100 * load[name]:.1f} %" for name in ("frames_share", "core_share")),
                f"{load['memory_mb']:.0f} MB",
                "sustained" if load["holds"] else "too much",
            )
        shown.append(table)
    for size, cameras in report.get("cameras", {}).items():
        shown += _camera_tables(size, cameras)
    if "fan_out" in report:
        table = _table("Clients of one live session", "clients", "latency, median", "95 %", "core used", "memory")
        for fan_out in report["fan_out"]:
            latencies = (f"{fan_out['p50_ms']:.0f} ms", f"{fan_out['p95_ms']:.0f} ms")
            share, memory = f"{100 * fan_out['core_share']:.1f} %", f"{fan_out['memory_mb']:.0f} MB"
            table.add_row(str(fan_out["clients"]), *latencies, share, memory)
        shown.append(table)
    if "review" in report:
        shown.append(_review_table(report["review"]))
    if "subscriptions" in report:
        titles = ("events/s", "webhook, median", "95 %", "WebSocket, median", "95 %", "core used", "memory")
        table = _table("Events that one of the subscriptions selects", "subscriptions", *titles)
        for cost in report["subscriptions"]:
            times = ["" if cost[name] is None else f"{cost[name]:.1f} ms" for name in cost if name.endswith("_ms")]
            share, memory = f"{100 * cost['core_share']:.1f} %", f"{cost['memory_mb']:.0f} MB"
            table.add_row(str(cost["subscriptions"]), str(cost["events_per_s"]), *times, share, memory)
        shown.append(table)
    if "store" in report:
        columns = ("store", "sessions", "commits/s", "commit, median", "95 %", "99 %", "notified, median", "95 %")
        table = _table("Commits of half a second's scores and an event", *columns, "with state/s")
        for rates in report["store"]:
            times = [f"{rates[name]:.1f} ms" for name in rates if name.endswith("_ms")]
            rate, heavy = rates["commits_per_s"], rates["with_checkpoint_per_s"]
            table.add_row(rates["store"], str(rates["committers"]), f"{rate:.0f}", *times, f"{heavy:.0f}")
        shown.append(table)
    on = report["machine"]
    cores = f"one thread of {on['cores']} cores, load {on['load_1min']} at the start"
    return [*shown, f"{on['cpu']}, {cores}; OpenVINO {on['openvino']}, Python {on['python']}"]


def _camera_tables(size: str, cameras: Report) -> list[Table | str]:
    columns = ("static", "CAKE_QUIET", "decoder", "worker and server", "frames", "decoding", "cameras per core")
    table = _table(f"RTSP cameras of {size}30", *columns)
    for cost in cameras["costs"]:
        shares = [f"{100 * cost[name]:.2f} %" for name in ("decoder_share", "service_share")]
        rest = (f"{100 * cost['frames_share']:.1f} %", cost["decoding"] or "", f"{cost['cameras_per_core']:.1f}")
        table.add_row(f"{cost['static_percent']} %", cost["quiet"], *shares, *rest)
    titles = (
        "static",
        "off",
        "auto",
        "shown again",
        "unchanged",
        "misses",
        "starts",
        "seen later: median",
        "95 %",
        "not at all",
    )
    reading_table = _table(f"The decoder of such a camera alone, {size}30", *titles)
    for reading in cameras["readings"]:
        shares = [f"{100 * reading[name]:.2f} %" for name in ("off_share", "auto_share")]
        shares += [f"{100 * reading[name]:.0f} %" for name in ("repeated_share", "unchanged_share")]
        starts = reading["starts"]
        late = ["0"] if starts is None else [str(starts["motions"])]
        if starts is not None:
            late += [f"{starts['p50_ms']:.0f} ms", f"{starts['p95_ms']:.0f} ms", str(starts["unseen"])]
        reading_table.add_row(f"{reading['static_percent']} %", *shares, str(reading["misses"]), *late)
    idle, misses = cameras["idle_share"], cameras["misses"]
    said = ", ".join(f"{quiet}: idle {100 * idle[quiet]:.2f} % of a core, {misses[quiet]} misses" for quiet in idle)
    return [table, reading_table, said]


def _peer_tables(peers: Report) -> list[Table | str]:
    compared = {
        "Peers: decisions of cake-s per second on one core": peers["decisions"],
        "Peers: frames of a 720p30 file per second on one core": peers["decoding"]["file"],
        "Peers: frames of a 720p30 camera per second on one core": peers["decoding"]["camera"],
    }
    shown: list[Table | str] = []
    for title, speeds in compared.items():
        table = _table(title, "", "median", "lowest to highest", "ours is")
        for speed in speeds:
            spread, times = f"{speed['lowest']} to {speed['highest']}", f"{speed['ours_is_times']} x"
            table.add_row(speed["name"], str(speed["per_core_second"]), spread, "" if speed["is_ours"] else times)
        shown.append(table)
    return shown + [f"Without {name}. To compare with it: {command}" for name, command in peers["missing"].items()]


def _review_table(review: Report) -> Table:
    table = _table("Events of a pushed stream of 360p30", "", "median", "high percentile", "measured")
    for name, what in (("plain", "alone"), ("full", "with clips, feedback and filtered streams")):
        p50, p95 = f"{review[f'{name}_p50_ms']} ms", f"95 %: {review[f'{name}_p95_ms']} ms"
        table.add_row(f"frame to event, {what}", p50, p95, f"{review['events']} events")
    p50, most = f"{review['clip_p50_ms']} ms", f"100 %: {review['clip_max_ms']} ms"
    table.add_row("last frame of a clip to its announcement", p50, most, f"{review['clips']} clips")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        # Folding breaks headings between words; ellipses would hide them in narrow terminals.
        table.add_column(column, overflow="fold")
    return table
