"""`cake bench`: what it prints. How fast the machine is, is no test's business."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from made_videos import numbered_picture, write_video
from tiny_model import tiny_model
from typer.testing import CliRunner

from model.checkpoint import available_models, save_checkpoint
from model.video import open_video
from service.bench.clips import GREY, write_moving, write_scaled
from service.bench.models import Effort, measure_model
from service.bench.run import Report
from service.cli import app

SPEED_NAMES = {"image_size", "steps_per_core_second", "clip_decisions_per_core_second", "ratio", "paper_fps"}
MACHINE_NAMES = {"cpu", "cores", "threads", "load_1min", "torch", "python"}


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


def test_the_models_part_is_one_json_object_with_cake_s_and_all_that_ship() -> None:
    found = report("--only", "models")
    assert set(found) == {"machine", "models"}
    assert set(found["machine"]) == MACHINE_NAMES
    assert found["machine"]["threads"] == 1
    assert set(found["models"]) == {"cake-s", *available_models()}
    assert found["models"]["cake-s"]["image_size"] == 160
    for speed in found["models"].values():
        assert set(speed) == SPEED_NAMES
        assert set(speed["steps_per_core_second"]) == {"1", "8"}


def test_the_ratio_compares_the_best_batch_with_clips_and_the_paper_counts_13_frames_for_each() -> None:
    speed = measure_model(tiny_model(), Effort(rounds=3, round_s=0.01))
    best = max(speed.steps_per_core_second.values())
    assert speed.ratio == pytest.approx(best / speed.clip_decisions_per_core_second, rel=0.01)
    assert speed.paper_fps == pytest.approx(13 * speed.clip_decisions_per_core_second, rel=0.01)


def test_the_decode_part_names_three_sizes_and_the_memory_of_a_real_decoder() -> None:
    found = report("--only", "decode")
    assert set(found) == {"machine", "decode_fps", "decoder_rss_mb"}
    assert set(found["decode_fps"]) == {"360p", "720p", "1080p"}
    assert all(fps > 0 for fps in found["decode_fps"].values())
    # A Python with numpy and FFmpeg's libraries takes more than this, whatever it decodes.
    assert found["decoder_rss_mb"] > 20


def test_the_service_part_measures_events_and_livez_of_a_real_server(tmp_path: Path) -> None:
    sample = write_video(tmp_path / "v.mp4", width=64, height=48, count=60)
    save_checkpoint(tmp_path / "tiny", tiny_model())
    found = report("--only", "service", "--model", str(tmp_path / "tiny"), "--sample", str(sample))
    assert set(found) == {"machine", "event_latency_ms", "livez_ms"}
    latency, livez = found["event_latency_ms"], found["livez_ms"]
    assert set(latency) == {"p50", "p95", "events"}
    assert latency["events"] > 0
    assert 0 < latency["p50"] <= latency["p95"]
    assert set(livez) == {"p50", "p99", "requests", "sessions", "steps_per_s"}
    assert livez["requests"] > 0
    assert 0 < livez["p50"] <= livez["p99"]


def test_without_json_people_get_tables() -> None:
    status, out, err = bench("--only", "decode")
    assert status == 0
    for text in ("360p", "720p", "1080p", " fps ", " MB ", "torch"):
        assert text in out
    assert "measuring decoding" in err


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
def test_what_cannot_be_measured_is_told_without_a_traceback(options: list[str], status: int) -> None:
    got, out, err = bench(*options)
    assert (got, out) == (status, "")
    assert "Traceback" not in err


def test_a_made_clip_has_its_size_and_moves(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_moving(path, 96, 64, duration_s=0.5)
    with open_video(path) as video:
        frames = list(video.frames())
    assert (len(frames), frames[0].image.shape) == (15, (64, 96, 3))
    assert frames[-1].pts_s == pytest.approx(14 / 30, abs=1e-4)
    for before, after in pairwise(frames):
        assert np.abs(before.image.astype(int) - after.image).max() > 20


def test_a_scaled_clip_keeps_aspect_and_times_and_is_cut_to_its_length(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "v.mp4", width=64, height=64, count=20, rate_hz=10, picture=lambda n, w, h: numbered_picture(5, w, h)
    )
    write_scaled(tmp_path / "scaled.mp4", source, 256, 128, duration_s=1.0)
    with open_video(tmp_path / "scaled.mp4") as video:
        frames = list(video.frames())
    assert [frame.pts_s for frame in frames] == pytest.approx([n / 10 for n in range(10)], abs=1e-4)
    image = frames[0].image.astype(int)
    assert image.shape == (128, 256, 3)
    # Grey beside the square, the red corner of the picture at its upper left.
    assert np.abs(image[:, [20, 236]] - GREY).max() < 12
    red, green, blue = image[20, 64 + 20]
    assert red > 200 > 80 > max(green, blue)
