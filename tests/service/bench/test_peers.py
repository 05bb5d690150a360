"""`cake bench --peers`: the peers compute the same, and those that are not installed are named."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from service.bench.clips import write_moving
from service.bench.models import random_images
from service.bench.peers.clips import ClipDecision, clip_of, openvino_clips, torch_clips
from service.bench.peers.decoding import opencv_reader, ours, with_pyav, write_as_camera
from service.bench.peers.measure import missing_peers
from service.bench.run import tables
from service.cli.main import app
from tests.support.tiny_model import tiny_model


@pytest.mark.slow
def test_the_comparison_runs_with_the_installed_peers() -> None:
    result = CliRunner().invoke(app, ["bench", "--peers", "--quick", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert set(found) == {"machine", "peers"}
    peers = found["peers"]
    assert set(peers) == {"decisions", "decoding", "missing"}
    assert peers["missing"] == missing_peers()
    for speeds in (peers["decisions"], *peers["decoding"].values()):
        assert 0 < sum(speed["is_ours"] for speed in speeds) < len(speeds)
        for speed in speeds:
            assert 0 < speed["lowest"] <= speed["per_core_second"] <= speed["highest"]
        ours_is_times = [speed["ours_is_times"] for speed in speeds if speed["is_ours"]]
        assert min(ours_is_times) == 1


def test_every_way_to_decide_on_a_clip_gives_the_same_scores() -> None:
    model, images_THWC = tiny_model(), random_images(13, 32)
    with torch.inference_mode():
        expected_K = ClipDecision(model)(clip_of(images_THWC), model.head.fresh(1))[0][0].numpy()
    assert np.ptp(expected_K) > 1e-3
    for folded in (False, True):
        scores_K = torch_clips(model, images_THWC, torch.float32, folded=folded)()
        np.testing.assert_allclose(scores_K, expected_K, atol=1e-4)
    np.testing.assert_allclose(openvino_clips(model, images_THWC, "f32")(), expected_K, atol=1e-4)
    in_bfloat16_K = torch_clips(model, images_THWC, torch.bfloat16, folded=True)()
    np.testing.assert_allclose(in_bfloat16_K, expected_K, atol=0.02)


def test_every_loop_that_decodes_takes_the_same_number_of_frames(tmp_path: Path) -> None:
    write_moving(tmp_path / "file.mp4", 96, 64, duration_s=1.0)
    write_as_camera(tmp_path / "camera.mp4", tmp_path / "file.mp4")
    for path in (tmp_path / "file.mp4", tmp_path / "camera.mp4"):
        assert [count(path) for count in (ours, with_pyav, opencv_reader())] == [10, 10, 10]


def test_a_peer_that_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("continual", "cv2", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    missing = missing_peers()
    assert missing == {
        "CoX3D": "pip install continual-inference",
        "the loop with OpenCV": "pip install opencv-python-headless",
        "ONNX Runtime on the step": "pip install onnxruntime",
    }
    machine = {"cores": 2, "load_1min": 0.0, "cpu": "a cpu", "openvino": "1", "python": "3"}
    peers = {"decisions": [], "decoding": {"file": [], "camera": []}, "missing": missing}
    said = [shown for shown in tables({"machine": machine, "peers": peers}) if isinstance(shown, str)]
    assert said[0] == "Without CoX3D. To compare with it: pip install continual-inference"


def test_a_comparison_that_ends_early_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    result = CliRunner().invoke(app, ["bench", "--peers"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "comparison with peers ended with status 1" in result.stderr
