"""The precision in which a network is computed hardly changes its scores."""

from pathlib import Path

import numpy as np
import pytest

from model.detector import Detector
from model.training.evaluation.measure import measure_videos
from model.training.mocap.dataset import write_mocap_streams
from tests.support.training_kit import SILENT

pytestmark = pytest.mark.slow

STREAM_FRAMES = 300


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of MocapStreams that no network has seen."""
    folder = tmp_path_factory.mktemp("streams")
    write_mocap_streams(folder, minutes=2, seed=7041, size=112, fps=10, targets=True, workers=2)
    return folder


@pytest.fixture(scope="module")
def bfloat16() -> Detector:
    detector = Detector.load("mocap", precision="auto")
    if detector.precision != "bfloat16":
        pytest.skip("this processor does not compute in bfloat16")
    return detector


def frame_map(detector: Detector, streams: Path, folder: Path) -> float:
    found = measure_videos(detector, streams, folder, processes=1, progress=SILENT)[0].frame_map
    assert found is not None
    return found


@pytest.fixture(scope="module")
def exact_map(streams: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """In float32."""
    found = frame_map(Detector.load("mocap"), streams, tmp_path_factory.mktemp("exact"))
    assert found > 0.7, "the network must see something, or this compares noise"
    return found


def test_bfloat16_changes_frame_map_by_less_than_half_a_point(
    streams: Path, bfloat16: Detector, exact_map: float, tmp_path: Path
) -> None:
    assert abs(frame_map(bfloat16, streams, tmp_path) - exact_map) < 0.005


def test_weights_in_int8_change_frame_map_by_less_than_half_a_point(
    streams: Path, bfloat16: Detector, exact_map: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = bfloat16.config.image_size
    image_BHWC = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    monkeypatch.setattr("model.compiled.precision.INT8_FROM_WEIGHTS", 1)
    compressed = Detector.load("mocap", precision="auto")
    opened = [(detector, detector.open_stream()) for detector in (compressed, bfloat16)]
    for _ in range(bfloat16.config.settle_frames + 1):
        scores, exact = (detector.push([stream], image_BHWC) for detector, stream in opened)
    assert not np.array_equal(scores, exact), "no weight was compressed"
    assert abs(frame_map(compressed, streams, tmp_path) - exact_map) < 0.005


def test_a_stream_continues_in_another_precision(bfloat16: Detector) -> None:
    size, exact = bfloat16.config.image_size, Detector.load("mocap")
    image_BHWC = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    stream = exact.open_stream()
    for _ in range(20):
        exact.push([stream], image_BHWC)
    moved = bfloat16.open_stream(stream.save())
    assert moved.frames == 20
    np.testing.assert_allclose(bfloat16.push([moved], image_BHWC), exact.push([stream], image_BHWC), atol=0.05)


def test_bfloat16_scores_drift_no_further_from_float32_over_a_long_stream(bfloat16: Detector) -> None:
    size, rng = bfloat16.config.image_size, np.random.default_rng(0)
    coarse = rng.integers(0, 256, (STREAM_FRAMES, size // 8, size // 8, 3)).astype(np.uint8)
    images_THWC = coarse.repeat(8, axis=1).repeat(8, axis=2)
    exact = Detector.load("mocap")
    streams = [(detector, detector.open_stream()) for detector in (exact, bfloat16)]
    scores = np.stack([[detector.push([s], image[None])[0] for detector, s in streams] for image in images_THWC])
    difference_T = np.abs(scores[:, 0] - scores[:, 1]).max(axis=1)
    assert 0 < difference_T.max() < 0.1
    assert difference_T[-100:].mean() < 2 * difference_T[:100].mean()
