"""Parts of `cake bench`: search, footprint, recordings, clips and tables."""

import os
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from model.video.file_reader import open_video
from service.bench.camera_file import CodedGroups
from service.bench.clips import GREY, write_moving, write_scaled
from service.bench.core_time import Effort
from service.bench.footprint import footprint
from service.bench.load import Load, search
from service.bench.models import measure_model
from service.bench.run import tables
from service.bench.subscriptions import SubscriptionCost
from tests.support.made_videos import numbered_image, write_video
from tests.support.tiny_model import tiny_model


def test_the_ratio_compares_the_best_batch_with_clips_and_the_paper_counts_13_frames_for_each() -> None:
    speed = measure_model(tiny_model(), Effort(rounds=3, round_s=0.01))
    best = max(speed.steps_per_core_second.values())
    assert speed.ratio == pytest.approx(best / speed.clip_decisions_per_core_second, rel=0.01)
    assert speed.paper_fps == pytest.approx(13 * speed.clip_decisions_per_core_second, rel=0.01)


def test_a_recording_of_a_camera_shows_motion_when_it_says_so(tmp_path: Path) -> None:
    motions = CodedGroups(192, 112).write(tmp_path / "camera.ts", [False, True, False, True, True])
    assert [(motion.begin_s, motion.end_s) for motion in motions] == [(4.2, 6.2), (12, 16), (16, 20)]
    with open_video(tmp_path / "camera.ts") as video:
        frames = list(video.frames())
    assert len(frames) == 600
    changes = [np.abs(after.image.astype(int) - before.image).mean() for before, after in pairwise(frames)]
    for motion in motions:
        begin, end = round(motion.begin_s * 30), round(motion.end_s * 30)
        # Within a group of frames, a keyframe differs by how it is coded.
        inside = [change for number, change in enumerate(changes[begin : end - 1], begin) if number % 60 != 59]
        assert np.median(inside) > 3 * np.median(changes[60:110])


@given(holds_up_to=st.integers(0, 40), first=st.integers(1, 8), most=st.integers(1, 32))
async def test_the_search_ends_at_the_largest_sustained_load(holds_up_to: int, first: int, most: int) -> None:
    async def measure(sessions: int) -> Load:
        assert 1 <= sessions <= most
        return Load(sessions, 1.0, 1.0, 1.0, 1, 1.0, 0.5, 100.0, holds=sessions <= holds_up_to)

    found = await search(measure, first=first, most=most)
    assert [load.sessions for load in found.loads] == sorted({load.sessions for load in found.loads})
    true = min(holds_up_to, most)
    assert true - max(1, true // 16) < found.sessions <= true


def test_a_footprint_counts_the_children() -> None:
    block = "import time; held = bytearray(200_000_000); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", block], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            with_child = footprint(os.getpid())
        finally:
            child.kill()
    assert with_child.memory_mb - footprint(os.getpid()).memory_mb > 200
    assert with_child.cpu_s > 0


def test_a_generated_clip_has_its_size_and_moves(tmp_path: Path) -> None:
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
        tmp_path / "v.mp4", width=64, height=64, count=20, rate_hz=10, draw=lambda n, w, h: numbered_image(5, w, h)
    )
    write_scaled(tmp_path / "scaled.mp4", source, 256, 128, duration_s=1.0)
    with open_video(tmp_path / "scaled.mp4") as video:
        frames = list(video.frames())
    assert [frame.pts_s for frame in frames] == pytest.approx([n / 10 for n in range(10)], abs=1e-4)
    image = frames[0].image.astype(int)
    assert image.shape == (128, 256, 3)
    # Grey next to the square, the red corner of the frame at its upper left.
    assert np.abs(image[:, [20, 236]] - GREY).max() < 12
    red, green, blue = image[20, 64 + 20]
    assert red > 200 > 80 > max(green, blue)


def test_without_subscriptions_the_table_states_no_times_of_webhooks() -> None:
    cost = SubscriptionCost(
        subscriptions=0,
        events_per_s=200.0,
        delivered=0,
        webhook_p50_ms=None,
        webhook_p95_ms=None,
        websocket_p50_ms=1.5,
        websocket_p95_ms=2.5,
        core_share=0.25,
        memory_mb=300.0,
    )
    machine = {"cores": 2, "load_1min": 0.0, "cpu": "a cpu", "openvino": "1", "python": "3"}
    table = tables({"machine": machine, "subscriptions": [asdict(cost)]})[0]
    assert isinstance(table, Table)
    assert [next(iter(column.cells)) for column in table.columns][2:6] == ["", "", "1.5 ms", "2.5 ms"]
