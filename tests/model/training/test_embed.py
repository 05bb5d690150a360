"""`cake embed`: its plot, its files, and its errors for wrong input."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.checkpoints.checkpoint import save_checkpoint
from model.training.layouts.annotations import read_annotations
from model.training.layouts.segments import last_started
from tests.support.cake_command import run
from tests.support.paths import SAMPLE
from tests.support.tiny_model import checkpoint_for, tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_for(SAMPLE, tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
def test_embed_plots_the_labelled_frames_and_writes_them_beside(
    checkpoint: Path, streams: Path, cache: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "plot.png"
    status, _, _ = run("embed", streams, "--model", checkpoint, "--out", out, "--per-class", "12", "--cache", cache)
    assert status == 0
    with Image.open(out) as plot:
        assert plot.format == "PNG"
    with np.load(out.with_suffix(".npz")) as arrays:
        label, video, pts_s, points = (arrays[name] for name in ("label", "video", "pts_s", "points"))
    assert points.shape == (len(label), 2)
    assert np.isfinite(points).all()
    videos = {each.name: each for each in read_annotations(streams)}
    names = ("background", *sorted({name for each in videos.values() for *_, name in each.segments}))
    for frame_label, name, frame_s in zip(label, video, pts_s, strict=True):
        assert frame_label == names[last_started(videos[name].segments, names, np.array([frame_s]))[0]]
    counts = dict(zip(*np.unique(label, return_counts=True), strict=True))
    assert set(counts) == set(names)
    assert max(counts.values()) == 12


@pytest.mark.slow
def test_embed_twice_gives_the_same_points_and_two_models_two_panels(
    checkpoint: Path, streams: Path, cache: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    save_checkpoint(other, tiny_model("other"))
    command = ["embed", streams, "--model", checkpoint, "--per-class", "5", "--cache", cache]
    for name, further in (("a", []), ("two", ["--model", other])):
        assert run(*command, *further, "--out", tmp_path / f"{name}.png")[0] == 0
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "two.npz") as two:
        assert set(two["model"]) == {checkpoint.name, "other"}
        assert np.array_equal(two["points"][two["model"] == checkpoint.name], a["points"])
        assert np.array_equal(two["pts_s"][two["model"] == "other"], a["pts_s"]), "the same frames"
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "two.png") as both:
        assert both.width == 2 * one.width


def test_embed_names_a_video_that_does_not_decode_and_leaves_it_out(
    checkpoint: Path, streams: Path, tmp_path: Path
) -> None:
    annotations = json.loads((streams / "annotations.json").read_text())
    (tmp_path / "videos").mkdir()
    for name in annotations["database"]:
        (tmp_path / "videos" / f"{name}.mp4").write_bytes((streams / "videos" / f"{name}.mp4").read_bytes())
    (tmp_path / "videos" / "stream_00001.mp4").write_text("no video")
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    status, _, err = run("embed", tmp_path, "--model", checkpoint, "--out", tmp_path / "plot.png", "--per-class", "5")
    assert status == 0
    assert "skipped stream_00001" in err
    with np.load(tmp_path / "plot.npz") as arrays:
        assert "stream_00001" not in set(arrays["video"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "plot.doc"], "expected a file ending in .png, .svg, .pdf, not 'plot.doc'"),
        (["--subset", "dev"], "--subset: expected training, validation, testing, not dev"),
        (["--subset", "testing"], "no video of the subsets testing"),
        (["--model", "nothing"], "no model 'nothing'"),
    ],
)
def test_embed_says_in_one_line_what_is_wrong(
    checkpoint: Path, streams: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    status, _, err = run("embed", streams, "--model", checkpoint, "--out", tmp_path / "plot.png", *arguments)
    assert status == 2
    assert [line for line in err.splitlines() if line.startswith("cake: ")] == err.split("\n")[-2:-1]
    assert message in err
    assert not list(tmp_path.iterdir())


def test_embed_of_a_folder_without_annotations_says_what_is_missing(checkpoint: Path, tmp_path: Path) -> None:
    status, _, err = run("embed", tmp_path, "--model", checkpoint, "--out", tmp_path / "plot.png")
    assert status == 2
    assert "annotations.json: not found" in err
