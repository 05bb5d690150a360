"""`cake explain`: its findings, its files, and its errors for wrong input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from model.config import StartRule
from model.detector import Detector
from model.network.cake import Cake
from model.training.look.explain import MAX_MOMENTS, explain_video, find_moments
from model.training.look.gradcam import cake_evidence
from model.training.run import Run
from model.training.stages.teacher import train_teacher
from model.training.stages.trunk import train_trunk
from model.video.file_reader import open_video
from model.video.preprocess import Region
from tests.support.cake_command import run
from tests.support.made_videos import numbered_image, write_video
from tests.support.paths import SAMPLE
from tests.support.tiny_model import LABELS, SAMPLE_HZ, checkpoint_for, tiny_model
from tests.support.training_kit import SILENT, open_tiny_run

SIDE = 64


def noise_with_patch(patches: Tensor, seed: int) -> Tensor:
    """Four frames (B, 4, 3, S, S) of dim noise, with a bright square to the left (0), to the right (1) or none (2)."""
    x_BTCSS = 0.1 * torch.randn(len(patches), 4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    for frames_TCSS, patch in zip(x_BTCSS, patches.tolist(), strict=True):
        if patch < 2:
            left = 6 + patch * SIDE // 2
            frames_TCSS[:, :, 20:40, left : left + 20] += 2
    return x_BTCSS


@pytest.fixture(scope="module")
def patch_finder() -> Cake:
    """A network that has learnt to say "kick" when there is a bright square, from its static branch alone."""
    model = Cake(replace(tiny_model().config, image_size=SIDE)).train()
    of_motion = model.head.fuse.weight.detach()[:, model.config.head.feature_dim :]
    of_motion.zero_()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(80):
        patches = torch.randint(0, 3, (12,), generator=torch.Generator().manual_seed(step))
        logits_BTK = model.sequence(noise_with_patch(patches, step))
        F.cross_entropy(logits_BTK[:, -1], (patches < 2).long()).backward()
        optimiser.step()
        optimiser.zero_grad()
        of_motion.zero_()
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("patch", [0, 1])
def test_a_score_that_depends_on_one_half_of_the_image_is_explained_there(patch_finder: Cake, patch: int) -> None:
    x_TCSS = noise_with_patch(torch.tensor([patch]), seed=1000)[0]
    map_SS = cake_evidence(patch_finder, x_TCSS, column=1, size=SIDE)["static"]
    halves = [map_SS[:, : SIDE // 2].sum(), map_SS[:, SIDE // 2 :].sum()]
    assert halves[patch] > 3 * halves[1 - patch]


def test_each_branch_is_explained_by_its_own_contribution() -> None:
    """The motion map is computed from the static one; a head that ignores the static feature has no evidence there."""
    model = tiny_model()
    with torch.no_grad():
        model.head.fuse.weight[:, : model.config.head.feature_dim] = 0
    x_TCSS = noise_with_patch(torch.tensor([0]), seed=1001)[0]
    found = [cake_evidence(model, x_TCSS, column, SIDE) for column in range(len(LABELS))]
    assert not any(maps["static"].any() for maps in found)
    assert any(maps["motion"].any() for maps in found)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_for(SAMPLE, tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", count=120)


def test_the_explained_score_is_the_one_that_is_served(checkpoint: Path, clip: Path) -> None:
    model, _ = load_checkpoint(checkpoint)
    (found,) = explain_video(clip, model, at_s=[1.95], label="punch")
    detector = Detector(model)
    stream = detector.open_stream()
    with open_video(clip) as source:
        for frame in source.frames(SAMPLE_HZ, model.config.frame_input):
            if frame.pts_s > 1.95:
                break
            scores_K = detector.push([stream], frame.image[None])[0]
    assert found.moment.score == pytest.approx(scores_K[2], abs=1e-6)
    assert 1.8 < found.moment.pts_s <= 1.95
    assert set(found.maps) == {"static", "motion"}


def test_a_region_is_explained_as_if_it_were_the_whole_video(checkpoint: Path, tmp_path: Path) -> None:
    def beside_grey(number: int, width: int, height: int) -> NDArray[np.uint8]:
        image = np.full((height, width, 3), 90, np.uint8)
        image[:, : width // 2] = numbered_image(number, width // 2, height)
        return image

    lossless = {"g": "1"}
    wide = tmp_path / "wide.mkv"
    write_video(wide, width=320, count=40, draw=beside_grey, codec="ffv1", codec_options=lossless)
    narrow = write_video(tmp_path / "narrow.mkv", width=160, count=40, codec="ffv1", codec_options=lossless)
    model, _ = load_checkpoint(checkpoint)
    (of_region,) = explain_video(wide, model, at_s=[1.0], label="kick", region=Region(0.0, 0.0, 0.5, 1.0))
    (of_whole,) = explain_video(narrow, model, at_s=[1.0], label="kick")
    assert of_region.moment == of_whole.moment
    np.testing.assert_array_equal(of_region.image_SS3, of_whole.image_SS3)
    for branch, map_SS in of_whole.maps.items():
        np.testing.assert_allclose(of_region.maps[branch], map_SS)


def test_without_times_the_decided_starts_are_explained() -> None:
    pts_s_T, scores_TK = np.arange(60) / 10, np.full((60, 3), 0.1)
    scores_TK[10:20, 1], scores_TK[40:50, 2] = 0.9, 0.8
    rules = {label: StartRule(enter=0.6, leave=0.4, min_duration_s=0.3) for label in LABELS[1:]}
    config = replace(tiny_model().config, start_rules=rules)
    found = [(m.pts_s, m.label, m.score) for m in find_moments(pts_s_T, scores_TK, config)]
    assert found == [(1.3, "kick", 0.9), (4.3, "punch", 0.8)]
    assert [m.label for m in find_moments(pts_s_T, scores_TK, config, "punch")] == ["punch"]


def test_of_many_starts_the_surest_are_explained_in_order_of_time() -> None:
    pts_s_T, scores_TK = np.arange(400) / 10, np.full((400, 3), 0.1)
    heights = [0.7, 0.9, 0.8, 0.95, 0.61, 0.75, 0.85, 0.65, 0.99, 0.62]
    for number, height in enumerate(heights):
        scores_TK[20 + 35 * number : 30 + 35 * number, 1] = height
    config = replace(tiny_model().config, start_rules={"kick": StartRule(enter=0.6, leave=0.4)})
    assert [m.score for m in find_moments(pts_s_T, scores_TK, config)] == [h for h in heights if h > 0.62]
    assert len(heights) - 2 == MAX_MOMENTS


def test_without_any_start_the_frame_of_the_highest_score_is_explained() -> None:
    pts_s_T, scores_TK = np.arange(30) / 10, np.full((30, 3), 0.1)
    scores_TK[:, 0], scores_TK[12, 2], scores_TK[20, 1] = 0.9, 0.5, 0.3
    config = tiny_model().config
    assert [(m.index, m.label) for m in find_moments(pts_s_T, scores_TK, config)] == [(12, "punch")]
    assert [(m.index, m.label) for m in find_moments(pts_s_T, scores_TK, config, "kick")] == [(20, "kick")]


def test_explain_writes_a_figure_and_an_image_of_each_map(checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    assert (
        run("explain", clip, "--model", checkpoint, "--out", out, "--at", "3", "--at", "1.5", "--label", "kick")[0] == 0
    )
    names = {"0001.50s_kick_static.png", "0001.50s_kick_motion.png", "0003.00s_kick_static.png"}
    assert {path.name for path in out.iterdir()} == {*names, "0003.00s_kick_motion.png", "explain.png"}
    with Image.open(out / "explain.png") as figure, Image.open(out / "0001.50s_kick_static.png") as single:
        assert single.size == (320, 320)
        assert figure.height > 1.3 * figure.width / 2, "two rows of three columns"


@pytest.fixture(scope="module")
def taught(streams: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run up to its teacher, with an untrained checkpoint of its architecture."""
    tiny_run = open_tiny_run(streams, tmp_path_factory.mktemp("runs") / "run")
    train_trunk(tiny_run, SILENT)
    train_teacher(tiny_run, SILENT)
    save_checkpoint(tiny_run.out_dir, Cake(tiny_run.config))
    return tiny_run


@pytest.mark.slow
def test_the_teacher_has_a_column_only_when_it_is_asked_for(streams: Path, taught: Run, tmp_path: Path) -> None:
    command = ["explain", streams / "videos" / "stream_00000.mp4", "--model", taught.out_dir, "--at", "2"]
    assert run(*command, "--out", tmp_path / "without")[0] == 0
    assert run(*command, "--out", tmp_path / "with", "--teacher", taught.out_dir)[0] == 0
    assert not list((tmp_path / "without").glob("*_teacher.png"))
    assert len(list((tmp_path / "with").glob("*_teacher.png"))) == 1
    with (
        Image.open(tmp_path / "without" / "explain.png") as narrow,
        Image.open(tmp_path / "with" / "explain.png") as wide,
    ):
        assert wide.width > 1.25 * narrow.width


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "jump"], "no label 'jump'; it has background, kick, punch"),
        (["--at", "99"], "no frame is shown at 99 s: the video lasts from 0 to 4.0 s"),
        (["--at", "-1"], "no frame is shown at -1 s"),
        (["--teacher", "."], "holds no teacher: expected recipe.json and stages/teacher/state.pt"),
        (["--model", "nothing"], "no model 'nothing'"),
        (["--region", "0.8,0,0.3,1"], "--region 0.8,0,0.3,1: expected X,Y,WIDTH,HEIGHT"),
        (["--region", "left"], "--region left: expected X,Y,WIDTH,HEIGHT"),
    ],
)
def test_explain_says_in_one_line_what_is_wrong(
    checkpoint: Path, clip: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    status, _, err = run("explain", clip, "--model", checkpoint, "--out", tmp_path / "out", *arguments)
    assert status == 2
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_teacher_without_the_label_is_refused(checkpoint: Path, clip: Path, taught: Run, tmp_path: Path) -> None:
    command = ["explain", clip, "--model", checkpoint, "--out", tmp_path / "out", "--at", "1"]
    for chosen, missing in (([], "kick"), (["--label", "punch"], "punch")):
        status, _, err = run(*command, *chosen, "--teacher", taught.out_dir)
        assert (status, err.count("\n")) == (2, 1)
        assert f"the teacher has no label '{missing}'" in err


@pytest.mark.slow
def test_a_damaged_teacher_is_reported_in_one_line(checkpoint: Path, clip: Path, taught: Run, tmp_path: Path) -> None:
    state = tmp_path / "stages" / "teacher" / "state.pt"
    state.parent.mkdir(parents=True)
    (tmp_path / "recipe.json").write_bytes((taught.out_dir / "recipe.json").read_bytes())
    whole = (taught.out_dir / "stages" / "teacher" / "state.pt").read_bytes()
    for damaged in (b"", b"no weights", whole[: len(whole) // 2]):
        state.write_bytes(damaged)
        command = ["explain", clip, "--model", checkpoint, "--out", tmp_path / "out", "--at", "1"]
        status, _, err = run(*command, "--teacher", tmp_path)
        assert (status, err.count("\n")) == (2, 1)
        assert "state.pt: damaged" in err


def test_a_file_that_is_not_a_video_is_reported_in_one_line(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    for name in ("notes.mp4", "missing.mp4"):
        status, _, err = run("explain", tmp_path / name, "--model", checkpoint, "--out", tmp_path / "out")
        assert (status, err.count("\n")) == (2, 1)


def test_a_file_where_a_folder_should_be_is_reported_in_one_line(checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    status, _, err = run("explain", clip, "--model", checkpoint, "--out", tmp_path / "out", "--at", "1")
    assert (status, err.count("\n")) == (2, 1)
