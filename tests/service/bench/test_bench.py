"""The output of `cake bench`. No test depends on the speed of the machine."""

import io
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from model.checkpoints.checkpoint import save_checkpoint
from model.checkpoints.folders import available_models
from service.bench.load import Load
from service.bench.plot import write_plot
from service.bench.run import Report, tables
from service.cli.main import app
from tests.support.commands import require_gstreamer
from tests.support.made_videos import write_video
from tests.support.redis_server import RedisServer
from tests.support.tiny_model import tiny_model

SPEED_NAMES = {
    "image_size",
    "precision",
    "steps_per_core_second",
    "clip_decisions_per_core_second",
    "ratio",
    "paper_fps",
}
MACHINE_NAMES = {"cpu", "cores", "load_1min", "openvino", "python"}


def bench(*options: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a quick run."""
    result = CliRunner().invoke(app, ["bench", "--quick", *options], env={"COLUMNS": "120"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def report(*options: str) -> Report:
    status, out, _ = bench(*options, "--json")
    assert status == 0
    found: Report = json.loads(out)
    return found


@pytest.mark.slow
def test_the_models_part_is_one_json_object_with_cake_s_and_all_that_ship() -> None:
    found = report("--only", "models")
    assert set(found) == {"machine", "models"}
    assert set(found["machine"]) == MACHINE_NAMES
    assert set(found["models"]) == {"cake-s", *available_models()}
    assert found["models"]["cake-s"]["image_size"] == 160
    for speed in found["models"].values():
        assert set(speed) == SPEED_NAMES
        assert set(speed["steps_per_core_second"]) == {"1", "8"}


@pytest.mark.slow
def test_the_decode_part_names_three_sizes_and_the_memory_of_a_real_decoder() -> None:
    status, out, err = bench("--only", "decode", "--json")
    assert status == 0
    assert "measuring decoding" in err
    found: Report = json.loads(out)
    assert set(found) == {"machine", "decode_fps", "decoder_rss_mb"}
    assert set(found["decode_fps"]) == {"360p", "720p", "1080p"}
    assert all(fps > 0 for fps in found["decode_fps"].values())
    # A Python with numpy and FFmpeg's libraries takes more than this, whatever it decodes.
    assert found["decoder_rss_mb"] > 20
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(*tables(found))
    shown = console.export_text()
    for text in ("360p", "720p", "1080p", " fps ", " MB ", "OpenVINO"):
        assert text in shown


@pytest.mark.slow
def test_the_service_part_measures_events_and_livez_of_a_real_server(tmp_path: Path) -> None:
    sample = write_video(tmp_path / "v.mp4", width=64, height=48, count=60)
    save_checkpoint(tmp_path / "tiny", tiny_model())
    found = report("--only", "service", "--model", str(tmp_path / "tiny"), "--sample", str(sample))
    assert set(found) == {"machine", "ready_after_s", "event_latency_ms", "livez_ms"}
    assert found["ready_after_s"] > 0
    latency, livez = found["event_latency_ms"], found["livez_ms"]
    assert set(latency) == {"p50", "p95", "events"}
    assert latency["events"] > 0
    assert 0 < latency["p50"] <= latency["p95"]
    assert set(livez) == {"p50", "p99", "requests", "sessions", "steps_per_s"}
    assert livez["requests"] > 0
    assert 0 < livez["p50"] <= livez["p99"]


@pytest.mark.slow
def test_the_load_part_runs_sessions_on_one_core_and_reports_their_cost(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "tiny", tiny_model())
    found = report("--only", "load", "--model", str(tmp_path / "tiny"))
    assert set(found["load"]) == {"720p", "360p"}
    for capacity in found["load"].values():
        (load,) = capacity["loads"]
        assert load["sessions"] == 1
        assert capacity["sessions"] == (1 if load["holds"] else 0)
        assert load["events"] > 0
        assert 0 < load["p50_ms"] <= load["p95_ms"] <= load["oldest_ms"]
        assert 0 < load["core_share"] < 1.2
        # Three processes with Python, of which one has torch.
        assert 100 < load["memory_mb"] < 1000


@pytest.mark.slow
def test_the_cameras_part_compares_both_settings_side_by_side(tmp_path: Path) -> None:
    require_gstreamer()
    save_checkpoint(tmp_path / "tiny", tiny_model())
    found = report("--only", "cameras", "--model", str(tmp_path / "tiny"))
    cameras = found["cameras"]["360p"]
    assert [(cost["static_percent"], cost["quiet"]) for cost in cameras["costs"]] == [(90, "off"), (90, "auto")]
    for cost in cameras["costs"]:
        assert 0 < cost["decoder_share"] < 1.2
        assert cost["cameras_per_core"] > 0
    assert [cost["decoding"] for cost in cameras["costs"]] == [None, "learning"]
    assert cameras["misses"] == {"off": 0, "auto": 0}
    (reading,) = cameras["readings"]
    assert min(reading["auto_share"], reading["off_share"]) > 0
    assert reading["unchanged_share"] > reading["repeated_share"] > 0.5
    starts = reading["starts"]
    assert starts["motions"] > starts["unseen"] == 0
    assert 0 <= starts["p50_ms"] <= starts["p95_ms"] <= starts["longest_ms"]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(*tables(found))
    assert "cameras per core" in console.export_text()


@pytest.mark.slow
def test_the_fan_out_part_measures_each_number_of_clients(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "tiny", tiny_model())
    found = report("--only", "fan-out", "--model", str(tmp_path / "tiny"))["fan_out"]
    assert [fan_out["clients"] for fan_out in found] == [1, 3]
    for fan_out in found:
        assert fan_out["events"] > 0
        assert 0 < fan_out["p50_ms"] <= fan_out["p95_ms"]
        assert 0 < fan_out["core_share"] < 1.2
    assert found[1]["events"] > found[0]["events"]


@pytest.mark.slow
def test_the_review_part_compares_events_without_and_with_clips_and_finds_clips(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "tiny", tiny_model())
    found = report("--only", "review", "--model", str(tmp_path / "tiny"))["review"]
    assert found["events"] > 0
    assert found["clips"] > 0
    assert 0 < found["clip_p50_ms"] <= found["clip_max_ms"]
    for name in ("plain", "full"):
        assert 0 < found[f"{name}_p50_ms"] <= found[f"{name}_p95_ms"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--only", "nothing"], 2),
        (["--only", "service", "--model", "no-such-model"], 2),
        (["--only", "service", "--sample", "no-such.mp4"], 2),
        (["--only", "service", "--sample", __file__], 1),
    ],
    ids=["part", "model", "missing sample", "sample that is no video"],
)
def test_a_failed_measurement_is_reported_without_a_traceback(options: list[str], status: int) -> None:
    got, out, err = bench(*options)
    assert (got, out) == (status, "")
    assert "Traceback" not in err


STORE_NAMES = {
    "store",
    "committers",
    "commits_per_s",
    "commit_p50_ms",
    "commit_p95_ms",
    "commit_p99_ms",
    "notified_p50_ms",
    "notified_p95_ms",
    "with_checkpoint_per_s",
}


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_the_store_is_measured_and_left_as_it_was(
    store: str, redis_url: str, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store == "redis":
        monkeypatch.setenv("CAKE_STORE_URL", redis_url)
    measured = report("--only", "store")["store"]
    assert [rates["committers"] for rates in measured] == [1, 2]
    for rates in measured:
        assert rates.keys() == STORE_NAMES
        assert rates["store"] == store
        assert rates["commits_per_s"] > 0
        assert rates["commit_p50_ms"] <= rates["commit_p95_ms"] <= rates["commit_p99_ms"]
    with shared_redis.client() as client:
        left = {key.decode() for key in client.keys("*")}
    assert not {key for key in left if "session:" in key or "events:" in key or "checkpoint:" in key}


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.slow
def test_results_are_printed_and_plotted(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bench.png"
    status, out, _ = bench("--only", "store", "--plot", str(path))
    assert status == 0
    assert "commits/s" in out
    assert "OpenVINO" in out
    width, height = size_of(path)
    assert width > 2 * height
    loads = [asdict(Load(n, 20.0 * n, 60.0 * n, 90.0 * n, 100, 1.0, 0.1 * n, 600.0, n < 8)) for n in (2, 4, 8)]
    fan_out = [{"clients": n, "p50_ms": 1.0, "p95_ms": 2.0, "memory_mb": 600.0} for n in (1, 10)]
    costs = [
        {"static_percent": percent, "quiet": quiet, "decoder_share": 0.02, "cameras_per_core": 20}
        for percent in (0, 90)
        for quiet in ("off", "auto")
    ]
    found = {
        "load": {"720p": {"loads": loads}, "360p": {"loads": loads}},
        "cameras": {"360p": {"costs": costs}},
        "fan_out": fan_out,
        "machine": {"cpu": "a cpu"},
    }
    write_plot(found, tmp_path / "all.png")
    assert size_of(tmp_path / "all.png") == (width, 4 * height)
