"""Atomic file writes."""

from pathlib import Path

import numpy as np
import pytest

from model.atomic import partial_path, write_atomically, write_text_atomically


def test_the_file_appears_complete(tmp_path: Path) -> None:
    path = tmp_path / "maps.npy"
    with write_atomically(path) as partial:
        np.save(partial, np.arange(3))
        assert not path.exists()
    assert np.load(path).tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    write_text_atomically(path, "old")

    def write_half() -> None:
        with write_atomically(path) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_retry_overwrites_what_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    partial_path(path).write_text("a longer leftover of a killed process")
    write_text_atomically(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
