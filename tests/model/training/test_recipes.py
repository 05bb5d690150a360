"""Options of recipes: imported parts, padded windows, training only the classifier, mirror images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.architectures import architecture
from model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from model.config import ModelConfig
from model.network.cake import Cake
from model.training.layouts.annotations import Targets
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.segments import label_frames
from model.training.loop import StageMismatchError
from model.training.recipe import RECIPES, Recipe, RecipeError, Schedule, StageName, paper_recipe, people_recipe
from model.training.run import open_run
from model.training.stages.distill import load_student
from model.training.stages.maps import load_maps, trunk_maps
from model.training.stages.trunk import load_trunk
from model.training.stages.windows import WindowSource
from model.training.train import train
from model.training.views import MARGIN, View, see_images, see_targets
from tests.support.cake_command import run
from tests.support.tiny_model import tiny_model
from tests.support.training_kit import ALONE, SHORTEST, SILENT, TINY, open_tiny_run

IMPORTED = replace(
    TINY,
    flip_share=0.5,
    trunk_source="imported",
    motion_source="imported",
    contrast=replace(TINY.contrast, pad_windows=True, window_steps=128),
    head=replace(TINY.head, pad_windows=True, window_steps=128, classifier_only=True, dropout=0.5),
)


@pytest.mark.slow
def test_an_imported_student_is_kept_to_the_bit_and_only_the_classifier_follows_contrast(
    streams: Path, tmp_path: Path
) -> None:
    run = open_run([streams], tmp_path / "run", None, IMPORTED, ALONE, SILENT, init=Path("mocap"))
    train(run, SILENT)
    begun, trained = load_checkpoint("mocap")[0].state_dict(), load_checkpoint(tmp_path / "run")[0].state_dict()
    for name, tensor in begun.items():
        if not name.startswith("head."):
            assert torch.equal(tensor, trained[name]), name
    contrast = torch.load(tmp_path / "run" / "stages" / "contrast" / "state.pt", weights_only=True)["network"]
    assert torch.equal(contrast["query.head.gru.weight_hh_l0"], trained["head.gru.weight_hh_l0"])
    assert not torch.equal(contrast["query.head.classify.weight"], trained["head.classify.weight"])
    assert not (tmp_path / "run" / "stages" / "trunk").exists()
    assert not (tmp_path / "run" / "stages" / "teacher").exists()


def test_a_recipe_that_imports_a_missing_part_is_rejected_before_any_work(streams: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="name their checkpoint with --from"):
        open_run([streams], tmp_path / "run", None, IMPORTED, ALONE, SILENT)
    save_checkpoint(tmp_path / "x3d", tiny_model(), parts=("trunk", "static_head"))
    with pytest.raises(RecipeError, match=r"imports motion, motion_head, which .* does not contain"):
        open_run([streams], tmp_path / "run", None, IMPORTED, ALONE, SILENT, init=tmp_path / "x3d")
    with pytest.raises(RecipeError, match="needs a contrast stage"):
        replace(TINY, head=replace(TINY.head, classifier_only=True), contrast=replace(TINY.contrast, kind="none"))


STARTING_WITH_TRUNK = replace(
    SHORTEST, head=replace(SHORTEST.head, start="trunk"), contrast=replace(SHORTEST.contrast, kind="none")
)


@pytest.mark.slow
def test_the_classifier_can_start_with_that_of_the_trunk_stage_and_training_can_continue_from_it(
    streams: Path, tmp_path: Path
) -> None:
    unchanged = replace(STARTING_WITH_TRUNK.head, schedule=Schedule(1, learning_rate=1e-12, weight_decay=0.0))
    begun = open_tiny_run(streams, tmp_path / "run", replace(STARTING_WITH_TRUNK, head=unchanged))
    train(begun, SILENT)
    network, stream = load_checkpoint(tmp_path / "run")[0], load_trunk(begun)
    images_BTCHW = torch.randn(1, 12, 3, network.config.image_size, network.config.image_size)
    with torch.inference_mode():
        assert torch.allclose(network.sequence(images_BTCHW), stream.sequence(images_BTCHW), atol=1e-4)
    kept = replace(STARTING_WITH_TRUNK, trunk_source="imported", motion_source="imported")
    continued = open_run([streams], tmp_path / "next", None, kept, ALONE, SILENT, init=tmp_path / "run")
    kept_head = load_trunk(continued).head.state_dict()
    assert torch.equal(kept_head["gru.weight_hh_l0"], network.state_dict()["head.gru.weight_hh_l0"])
    assert torch.equal(kept_head["fuse.weight"], stream.head.fuse.weight)


def test_a_recipe_that_starts_with_the_trunks_classifier_needs_one_for_the_same_labels(
    streams: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"needs contrast\.kind 'none'"):
        replace(TINY, head=replace(TINY.head, start="trunk"))
    imported = replace(STARTING_WITH_TRUNK, trunk_source="imported")
    with pytest.raises(RecipeError, match=r"whose labels are fall, fight; the data has .*\. Train the trunk too"):
        open_run([streams], tmp_path / "run", None, imported, ALONE, SILENT, init=Path("people"))
    save_checkpoint(tmp_path / "x3d", tiny_model(), parts=("trunk", "static_head"))
    with pytest.raises(RecipeError, match=r"imports head, which .* does not contain"):
        open_run([streams], tmp_path / "run", None, imported, ALONE, SILENT, init=tmp_path / "x3d")


def test_padded_windows_use_short_streams_and_their_first_frames() -> None:
    pts_s = np.arange(5) / 4
    labels = label_frames([(0.0, 0.5, "a")], ("background", "a"), pts_s)
    sequence = FeatureSequence("short", np.ones((5, 3), np.float32), np.ones((5, 2), np.float32), labels, pts_s)
    with pytest.raises(ValueError, match="no video has 8 frames"):
        WindowSource([sequence], 8)
    windows = WindowSource([sequence], 8, pad=True).draw(np.random.default_rng(0), 64)
    zeros_BT = (windows.features_BTF == 0).all(dim=2)
    assert torch.equal(zeros_BT, windows.ambiguous_BT)
    assert not zeros_BT[:, -1].any()
    assert set(zeros_BT.sum(dim=1).tolist()) == {3, 4, 5, 6, 7}


@pytest.mark.parametrize("corner", [None, (0, 16), (8, 0)])
def test_a_mirrored_view_moves_image_flow_joints_and_mask_alike(corner: tuple[int, int] | None) -> None:
    size, rng = 32, np.random.default_rng(0)
    images = rng.integers(0, 256, (2, size + MARGIN, size + MARGIN, 3), np.uint8)
    mirrored = images[:, :, ::-1].copy()
    np.testing.assert_array_equal(see_images(images, View(corner, flip=True)), see_images(mirrored, View(corner)))
    flow = rng.normal(size=(2, size + MARGIN, size + MARGIN, 2)).astype(np.float16)
    turned = flow[:, :, ::-1] * np.array([-1, 1], np.float16)
    np.testing.assert_allclose(see_images(flow, View(corner, flip=True)), see_images(turned, View(corner)))
    joints, mask = rng.uniform(-1, 1, (2, 4, 2)).astype(np.float32), rng.integers(0, 256, (2, 14, 14), np.uint8)
    other = Targets(joints * np.array([-1, 1], np.float32), mask[:, :, ::-1].copy())
    found = see_targets(Targets(joints, mask), View(corner, flip=True), size)
    for ours, theirs in zip(found, see_targets(other, View(corner), size), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_named_recipes_are_printed_and_read() -> None:
    assert set(RECIPES) == {"default", "paper", "people"}
    for name, recipe in (("paper", paper_recipe()), ("people", people_recipe())):
        assert Recipe.from_json(json.loads(run("train", "recipe", name).out)) == recipe
    wrong = run("train", "recipe", "papre")
    assert wrong.status == 2
    assert wrong.err.strip() == "cake: there is no recipe 'papre'; there are default, paper, people"


def test_an_unknown_field_is_named_in_one_line() -> None:
    with pytest.raises(RecipeError, match=r"^the recipe's '\\n': Unexpected keyword argument$"):
        Recipe.from_json({"\n": 1})
    with pytest.raises(RecipeError, match=r"^the recipe's trunk\.stepz: Unexpected keyword argument$"):
        Recipe.from_json({"trunk": {"stepz": 1}})


def save_teacher(folder: Path, config: ModelConfig) -> Cake:
    """A network on optical flow with random weights, as an import leaves it."""
    torch.manual_seed(5)
    network = Cake(replace(config, labels=("background",), trunk=config.trunk.on_flow)).eval()
    save_checkpoint(folder, network, parts=("trunk", "static_head"))
    return network


@pytest.mark.slow
def test_the_motion_adapter_learns_from_an_imported_teacher(streams: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    network = save_teacher(teacher, architecture("cake-xs", ("background",)))
    run = open_run([streams], tmp_path / "run", None, TINY, ALONE, SILENT, teacher=teacher)
    train(run, SILENT, [StageName.TRUNK, StageName.TEACHER, StageName.DISTILL])
    assert not (tmp_path / "run" / "stages" / "teacher").exists()
    video = run.training[0]
    flow = np.load(run.flow_path(video))
    np.testing.assert_array_equal(load_maps(run, "teacher", video)[0], trunk_maps(network.trunk, flow, View(None)))
    assert torch.equal(load_student(run).motion_head.project.weight, network.static_head.project.weight)
    save_teacher(tmp_path / "other", replace(run.config, head=replace(run.config.head, projection_width=8)))
    with pytest.raises(StageMismatchError, match=r"another checkpoints\.teacher"):
        open_run([streams], tmp_path / "run", None, TINY, ALONE, SILENT, teacher=tmp_path / "other")


def test_a_teacher_that_does_not_fit_is_refused_before_any_work(streams: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "rgb", tiny_model(), parts=("trunk", "static_head"))
    for recipe, init, teacher, message in (
        (TINY, None, "rgb", "rgb is not a flow teacher for cake-xs: its trunk is of another architecture"),
        (IMPORTED, "mocap", "rgb", "--teacher has no effect on a recipe that imports the motion branch"),
    ):
        with pytest.raises(ValueError, match=message):
            open_run(
                *([streams], tmp_path / "run", None, recipe, ALONE, SILENT),
                init=None if init is None else Path(init),
                teacher=tmp_path / teacher,
            )
    assert not (tmp_path / "run").exists()
