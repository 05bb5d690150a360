"""`cake train` and `cake eval` on small streams, as processes, through kills; and what they say of wrong data."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.checkpoint import read_config
from model.training.data import DataInvalid, frame_targets, read_annotations
from model.training.mocap import write_mocap_streams

CAKE = (sys.executable, "-m", "service.cli")
STEPS = 8


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four short streams, the last one for validation."""
    folder = tmp_path_factory.mktemp("streams")
    write_mocap_streams(folder, minutes=0.4, seed=5, size=112, fps=10, stream_s=6.0, workers=2, targets=True)
    annotations = json.loads((folder / "annotations.json").read_text())
    for index, entry in enumerate(annotations["database"].values()):
        entry["subset"] = "validation" if index == 3 else "training"
    (folder / "annotations.json").write_text(json.dumps(annotations))
    return folder


def train_command(data: Path, out: Path) -> list[str]:
    options = {"--data": data, "--out": out, "--config": "cake-xs", "--steps": STEPS, "--processes": 2}
    return [*CAKE, "train", "--checkpoint-every-s", "0", *(str(part) for pair in options.items() for part in pair)]


@pytest.fixture(scope="module")
def trained(streams: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose training was killed once on the way, and then run again."""
    out = tmp_path_factory.mktemp("runs") / "killed"
    with subprocess.Popen(train_command(streams, out), stderr=subprocess.PIPE) as first:
        assert first.stderr is not None
        while first.poll() is None and not (out / "training.pt").exists():
            first.stderr.read1(4096)  # type: ignore[attr-defined]
        first.send_signal(signal.SIGKILL)
        first.stderr.read()
    subprocess.run(train_command(streams, out), check=True, capture_output=True)
    return out


def test_training_goes_on_after_a_kill_and_ends_at_the_last_step(trained: Path) -> None:
    steps = [json.loads(line)["step"] for line in (trained / "log.jsonl").read_text().splitlines()]
    assert steps[-1] == STEPS
    assert sorted(set(steps)) == steps, "no step was trained twice after it had been saved"


def test_a_trained_checkpoint_knows_its_labels_and_has_a_rule_for_each(trained: Path, streams: Path) -> None:
    config = read_config(trained)
    expected = {label for video in read_annotations(streams) for _, _, label in video.segments}
    assert set(config.labels[1:]) == expected
    assert set(config.start_rules) == expected


def test_eval_prints_one_json_object_with_the_promised_keys(trained: Path, streams: Path) -> None:
    command = [*CAKE, "eval", "--data", str(streams), "--model", str(trained), "--json"]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert {"frame_map", "frame_cmap", "start_map", "start_delay_s", "false_starts_per_hour", "per_class"} <= set(
        answer
    )
    assert set(answer["start_map"]) == {"0.5", "1", "2", "4"}
    assert set(answer["start_delay_s"]) == {"median", "p90"}
    assert 0 <= answer["frame_map"] <= 1


def test_eval_without_json_prints_a_table_of_the_classes(trained: Path, streams: Path) -> None:
    command = [*CAKE, "eval", "--data", str(streams), "--model", str(trained), "--subset", "validation"]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert all(label in table for label in read_config(trained).labels[1:])


def test_an_undecodable_video_is_named_and_left_out(trained: Path, streams: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(streams, data, ignore=shutil.ignore_patterns("cache"))
    (data / "videos" / "stream_00001.mp4").write_bytes(b"not a video")
    command = [*CAKE, "eval", "--data", str(data), "--model", str(trained), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "left out stream_00001" in done.stderr
    assert 0 <= json.loads(done.stdout)["frame_map"] <= 1


def set_entry(name: str, key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(annotations: dict[str, Any]) -> None:
        annotations["database"][name][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda annotations: annotations.pop("database"), "an object under 'database'"),
        (set_entry("stream_00000", "subset", "dev"), r"stream_00000'\]\.subset: expected one of training"),
        (set_entry("stream_00000", "duration", "long"), r"stream_00000'\]: expected 'subset', 'duration' in seconds"),
        (set_entry("stream_00000", "annotations", [{"label": "kick"}]), r"annotations\[0\]: expected a 'label'"),
        (lambda annotations: annotations["database"].update(gone=annotations["database"]["stream_00000"]), "no video"),
    ],
)
def test_a_wrong_layout_is_told_with_the_file_and_the_field(
    streams: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    (tmp_path / "videos").symlink_to(streams / "videos")
    annotations = json.loads((streams / "annotations.json").read_text())
    change(annotations)
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    with pytest.raises(DataInvalid, match=rf"annotations\.json.*{message}"):
        read_annotations(tmp_path)


def test_a_folder_without_annotations_is_told_what_it_lacks(tmp_path: Path) -> None:
    done = subprocess.run(
        [*CAKE, "train", "--data", str(tmp_path), "--out", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "annotations.json: not there" in done.stderr
    assert "Traceback" not in done.stderr


def test_frames_get_the_label_of_the_segment_that_covers_them(streams: Path) -> None:
    video = read_annotations(streams)[0]
    labels = ("background", *sorted({label for _, _, label in video.segments}))
    pts_s_T = np.arange(0, 6, 0.1)
    for pts_s, target in zip(pts_s_T, frame_targets(video, labels, pts_s_T), strict=True):
        covering = [label for start_s, end_s, label in video.segments if start_s <= pts_s < end_s]
        assert labels[target] == (covering[0] if covering else "background")
