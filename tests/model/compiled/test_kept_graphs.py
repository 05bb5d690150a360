"""Compiled graphs are kept on disk, and used only unchanged."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.checkpoints.checkpoint import save_checkpoint
from model.compiled.graph_files import GraphFiles
from model.detector import Detector
from tests.support.random_networks import random_frames
from tests.support.tiny_model import SIZE, tiny_model

FRAMES = random_frames(1, 3, SIZE)[0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    save_checkpoint(folder, tiny_model())
    return folder


def scores(checkpoint: Path, kept: Path | None) -> NDArray[np.float32]:
    detector = Detector.load(checkpoint, graphs=None if kept is None else GraphFiles(kept))
    stream = detector.open_stream()
    return np.stack([detector.push([stream], frame[None])[0] for frame in FRAMES])


def test_a_stored_graph_computes_the_same_as_the_compiled_one(checkpoint: Path, tmp_path: Path) -> None:
    compiled = scores(checkpoint, tmp_path)
    (kept,) = tmp_path.iterdir()
    written_ns = kept.stat().st_ctime_ns
    np.testing.assert_array_equal(scores(checkpoint, tmp_path), compiled)
    np.testing.assert_array_equal(scores(checkpoint, None), compiled)
    assert [path.name for path in tmp_path.iterdir()] == [kept.name], "a graph was compiled a second time"
    assert kept.stat().st_ctime_ns != written_ns, "the kept graph was not read"


@pytest.mark.parametrize("damage", ["one bit", "shortened", "not a graph"])
def test_a_damaged_graph_is_replaced(checkpoint: Path, tmp_path: Path, damage: str) -> None:
    compiled = scores(checkpoint, tmp_path)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    match damage:
        case "one bit":
            kept.write_bytes(whole[:-2000] + bytes([whole[-2000] ^ 1]) + whole[-1999:])
        case "shortened":
            kept.write_bytes(whole[:100])
        case "not a graph":
            GraphFiles(tmp_path).write(kept.stem, b"[]\nnot a graph")
    assert (damage == "not a graph") == (GraphFiles(tmp_path).read(kept.stem) is not None)
    np.testing.assert_array_equal(scores(checkpoint, tmp_path), compiled)
    assert len(kept.read_bytes()) > len(whole) / 2


def test_networks_that_differ_in_one_weight_share_no_graph(checkpoint: Path, tmp_path: Path) -> None:
    network = tiny_model()
    network.head.classify.bias.data[0] += 1
    save_checkpoint(tmp_path / "other", network)
    first, second = (scores(folder, tmp_path / "kept") for folder in (checkpoint, tmp_path / "other"))
    assert np.abs(first - second).max() > 0.01
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_the_least_recently_used_files_are_deleted_to_make_room(tmp_path: Path) -> None:
    files = GraphFiles(tmp_path, max_bytes=3 * 132)
    for key in "abc":
        files.write(key, key.encode() * 100)
        assert files.read("a") == b"a" * 100
    files.write("d", b"d" * 100)
    assert [key for key in "abcd" if files.read(key) is not None] == ["a", "c", "d"]


def test_an_unwritable_folder_is_not_a_failure(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert np.isfinite(scores(checkpoint, tmp_path / "file" / "graphs")).all()
