"""`cake models export`: a program that knows nothing but the graphs gets the scores that the detector gives."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from model.checkpoints.export import GraphMismatchError, compare, graphs_of
from model.detector import Detector
from model.video.preprocess import normalise
from service.bench.peers.steps import onnx_stepper
from tests.support.cake_command import run
from tests.support.made_videos import write_video
from tests.support.tiny_model import LABELS, SAMPLE_HZ, SIZE, checkpoint_for, frames_of, tiny_model


@dataclass(frozen=True)
class Exported:
    checkpoint: Path
    video: Path
    folder: Path
    reported: str


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    place = tmp_path_factory.mktemp("export")
    video = write_video(place / "video.mp4", count=180)
    checkpoint = checkpoint_for(video, place)
    status, out, err = run("models", "export", checkpoint, "--onnx", "--out", place / "graphs")
    assert status == 0, err
    return Exported(checkpoint, video, place / "graphs", out)


class Graph:
    """A client of one graph: it begins with zeros and feeds each `next.X` back as `state.X`."""

    def __init__(self, path: Path, streams: int) -> None:
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        frames, *states = self._session.get_inputs()
        self._input = frames.name
        dtypes = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
        self._state = {x.name: np.zeros((streams, *x.shape[1:]), dtypes[x.type]) for x in states}

    def __call__(self, x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        names = [output.name for output in self._session.get_outputs()]
        found = dict(zip(names, self._session.run(None, {self._input: x, **self._state}), strict=True))
        self._state = {name: found.pop(name.replace("state.", "next.", 1)) for name in self._state}
        return found


@pytest.mark.slow
def test_the_command_says_how_far_the_graphs_are_from_torch(exported: Exported) -> None:
    assert [line.split(":")[0].rsplit("/")[-1] for line in exported.reported.splitlines()] == ["step.onnx", "clip.onnx"]
    assert exported.reported.count("differs from PyTorch by") == 2
    assert sorted(path.name for path in exported.folder.iterdir()) == ["clip.onnx", "step.onnx"]


@pytest.mark.slow
def test_the_step_graph_scores_streams_as_the_detector_does(exported: Exported) -> None:
    frames_THWC = frames_of(exported.video)
    two_BTHWC = np.stack([frames_THWC, frames_THWC[::-1]])
    detector, graph = Detector.load(exported.checkpoint), Graph(exported.folder / "step.onnx", streams=2)
    streams = [detector.open_stream() for _ in two_BTHWC]
    expected = np.stack([detector.push(streams, two_BTHWC[:, t]) for t in range(len(frames_THWC))])
    found = np.stack([graph(normalise(two_BTHWC[:, t]))["scores"] for t in range(len(frames_THWC))])
    assert np.ptp(expected, axis=0).max() > 0.5, "the scores must move, or this compares constants"
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.slow
def test_the_clip_graph_gives_the_features_of_clip_mode_and_carries_the_head(exported: Exported) -> None:
    model, _ = load_checkpoint(exported.checkpoint)
    graph = Graph(exported.folder / "clip.onnx", streams=1)
    x_TCHW = torch.from_numpy(normalise(frames_of(exported.video)))
    hidden_BH = model.head.fresh(1)
    for first in (0, 1, 2, 30):
        clips_BCTHW = x_TCHW[first : first + 13].transpose(0, 1)[None].contiguous()
        with torch.inference_mode():
            features = model.clip(clips_BCTHW)
            scores_BK, hidden_BH = model.head.step(torch.cat([features.static_BD, features.motion_BD], 1), hidden_BH)
        found = graph(clips_BCTHW.numpy())
        for name, expected in {"static": features.static_BD, "motion": features.motion_BD, "scores": scores_BK}.items():
            np.testing.assert_allclose(found[name], expected.numpy(), atol=1e-3)


@pytest.mark.slow
def test_the_graphs_say_what_a_runtime_must_know(exported: Exported) -> None:
    for name in ("step", "clip"):
        stored = onnx.load(exported.folder / f"{name}.onnx").metadata_props
        reported = {entry.key: json.loads(entry.value) for entry in stored}
        assert (reported["labels"], reported["sample_hz"], reported["image_size"]) == (list(LABELS), SAMPLE_HZ, SIZE)
        assert reported["version"] == load_checkpoint(exported.checkpoint)[1]
        pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
        rule = reported["normalisation"]
        by_rule = (pixels.transpose(0, 3, 1, 2) / rule["divide_by"] - rule["mean"]) / rule["std"]
        np.testing.assert_allclose(normalise(pixels), by_rule, atol=1e-5)


@pytest.mark.slow
def test_a_graph_of_other_weights_is_found_out(exported: Exported) -> None:
    graph = graphs_of(tiny_model())["step"]
    with pytest.raises(GraphMismatchError, match="differs from torch"):
        compare(graph, exported.folder / "step.onnx", calls=5)


def test_an_incomplete_model_is_rejected_in_one_line(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "start", tiny_model(), parts=("trunk",))
    for name, reported in {"absent": "no model 'absent'", tmp_path / "start": "a starting point for training"}.items():
        status, out, err = run("models", "export", name, "--out", tmp_path / "graphs")
        assert (status, out, err.count("\n"), reported in err) == (2, "", 1, True), err
        assert not (tmp_path / "graphs").exists()


def test_the_bench_steps_as_many_streams_as_it_has_images_and_keeps_their_states(exported: Exported) -> None:
    model = load_checkpoint(exported.checkpoint)[0]
    images_BHWC = frames_of(exported.video)[:2]
    step = onnx_stepper(model, exported.folder / "step.onnx", images_BHWC)
    graph = Graph(exported.folder / "step.onnx", 2)
    for _ in range(3):
        np.testing.assert_allclose(np.asarray(step()), graph(normalise(images_BHWC))["scores"], atol=1e-6)
