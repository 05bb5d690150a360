"""Fine-tuning with clips and cross-validation by blocks, with a tiny network."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from model.network.cake import Cake
from model.training.clips.compose import Composition
from model.training.clips.crossval import train_without
from model.training.clips.end_to_end import EndToEndRecipe, train_end_to_end
from model.training.clips.finetune import ClipRecipe, new_labels, warmup_weight
from model.training.clips.material import Material, Workshop, open_workshop, prepare
from model.training.clips.motion_baseline import baseline_scores, motion_statistics
from model.training.clips.views import WholeClip, draw_views
from model.training.layouts.annotations import DataError
from model.training.layouts.video_lists import read_clips
from model.training.placement import Placement
from model.training.progress import Progress
from model.training.recipe import Schedule
from tests.support.cake_command import Done, run
from tests.support.made_videos import Pixels, write_video
from tests.support.tiny_model import SIZE, tiny_model

ALONE = Placement("cpu", 1, 0, False)
SILENT = Progress(lambda text: None, lambda done, total: None, lambda done, total, loss: None, lambda sentence: None)
RECIPE = ClipRecipe(Schedule(steps=3, warmup_steps=1), frozen_stages=1, views=2, sequences=4)


def moving(number: int, width: int, height: int) -> Pixels:
    return np.roll(still(number, width, height), 5 * number, axis=1)


def still(number: int, width: int, height: int) -> Pixels:
    columns = np.where(np.arange(width) // 8 % 2, 200, 40).astype(np.uint8)
    return np.broadcast_to(columns[None, :, None], (height, width, 3)).copy()


@pytest.fixture(scope="module")
def clip_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips that move and four that do not, in two blocks of two numbers."""
    folder = tmp_path_factory.mktemp("clips")
    lines = []
    for number in range(1, 5):
        for name, image in (("fight", moving), ("calm", still)):
            write_video(folder / f"{name}{number}.mp4", width=64, height=48, count=20, rate_hz=10, draw=image)
            lines.append(f"{name}{number}.mp4 {name}\n")
    (folder / "clips.txt").write_text("".join(lines))
    return folder / "clips.txt"


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init") / "tiny"
    save_checkpoint(folder, tiny_model())
    return folder


@pytest.fixture(scope="module")
def prepared(clip_list: Path, init: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Material, Workshop]:
    clips = read_clips(clip_list)
    composition = Composition(passes=1, size=32, block_size=2)
    out = tmp_path_factory.mktemp("workshop")
    workshop = open_workshop(clips, str(init), "calm", out, RECIPE, composition, processes=1)
    return prepare(clips, "calm", workshop, SILENT), workshop


def train_clips(clip_list: Path, init: Path, out: Path, *more: str) -> Done:
    options = {"--clips": clip_list, "--out": out, "--from": init, "--background": "calm", "--block-size": 2}
    small = {"--folds": 2, "--repeats": 2, "--steps": 2, "--views": 1, "--processes": 1}
    return run("train", "clips", "--json", *(part for pair in (options | small).items() for part in pair), *more)


@pytest.mark.slow
def test_one_command_writes_a_checkpoint_of_the_wanted_size_and_its_cross_validation(
    clip_list: Path, init: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.training.clips.crossval_report.CLIP_DRAWS", 50)
    monkeypatch.setattr("model.training.clips.crossval_report.STREAM_DRAWS", 50)
    done = train_clips(clip_list, init, tmp_path, "--image-size", "48")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert found == json.loads((tmp_path / "crossval.json").read_text())
    assert found["clips"] == 8
    assert found["blocks"] == 2
    assert found["baseline_accuracy"]["mean"] == 1.0, "the baseline tells what moves"
    assert found["accuracy_gain"]["mean"] == pytest.approx(found["accuracy"]["mean"] - 1.0)
    assert found["accuracy"]["low"] <= found["accuracy"]["mean"] <= found["accuracy"]["high"]
    assert set(found["start_ap"]) == {"0.5", "1", "2", "4"}
    model, _ = load_checkpoint(tmp_path)
    assert model.config.image_size == 48
    assert model.config.labels == ("background", "fight")
    assert set(model.config.start_rules) == {"fight"}
    assert len(list(tmp_path.glob("stages/*/state.pt"))) == 2 * 2 + 1, "each fold of each grouping, and what ships"


@pytest.mark.slow
def test_a_network_does_not_depend_on_the_clips_that_are_held_out(prepared: tuple[Material, Workshop]) -> None:
    material, workshop = prepared
    garbled = {
        block: maps if block else replace(maps, maps_VTCHW=np.ones_like(maps.maps_VTCHW))
        for block, maps in material.maps.items()
    }
    honest = train_without({0}, "honest", material, workshop, SILENT).state_dict()
    blind = train_without({0}, "blind", replace(material, maps=garbled), workshop, SILENT).state_dict()
    other = train_without({1}, "other", replace(material, maps=garbled), workshop, SILENT).state_dict()
    assert all(torch.equal(honest[name], blind[name]) for name in honest)
    assert any(not torch.equal(honest[name], other[name]) for name in honest)


@pytest.mark.slow
def test_stem_first_stages_and_norm_statistics_stay_as_they_were(
    prepared: tuple[Material, Workshop], init: Path
) -> None:
    material, workshop = prepared
    before = load_checkpoint(init)[0].state_dict()
    after = train_without({0}, "frozen", material, workshop, SILENT).state_dict()
    kept = [name for name in before if name.startswith(("trunk.stem.", "trunk.stages.0.")) or "running_" in name]
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not torch.equal(before["trunk.stages.1.0.expand.weight"], after["trunk.stages.1.0.expand.weight"])


@pytest.mark.slow
def test_a_finished_fold_is_not_trained_again(prepared: tuple[Material, Workshop]) -> None:
    material, workshop = prepared
    first = train_without({0}, "twice", material, workshop, SILENT).state_dict()
    log = workshop.dir / "stages" / "twice" / "log.jsonl"
    log.unlink()
    second = train_without({0}, "twice", material, workshop, SILENT).state_dict()
    assert not log.exists()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_list_of_two_actions_is_refused_in_one_line(clip_list: Path, init: Path, tmp_path: Path) -> None:
    three = clip_list.parent / "three.txt"
    three.write_text(clip_list.read_text().replace("fight4.mp4 fight", "fight4.mp4 dance"))
    done = train_clips(three, init, tmp_path)
    assert done.status == 2
    assert "expected clips of one action besides 'calm'; found dance, fight" in done.err


def test_views_join_two_clips_and_every_label_begins_equally_often() -> None:
    images = [still(0, 64, 48)] * 30
    pts_s = [number / 15 for number in range(30)]
    clips = [WholeClip(images, pts_s, target) for target in (0, 1)]
    views = list(draw_views(clips, np.random.default_rng(0), views=8, steps=16, sample_hz=10, size=SIZE))
    assert [int(view.target_T[0]) for view in views] == [0, 1] * 4
    assert all((np.diff(view.target_T) != 0).sum() <= 1 for view in views)
    assert all(view.images_TCSS.shape == (16, 3, SIZE, SIZE) for view in views)
    assert len({view.images_TCSS.tobytes() for view in views}) == len(views)


def test_frames_after_a_change_of_label_weigh_less() -> None:
    weight_BT = warmup_weight(torch.tensor([[0] * 6 + [1] * 6, [1] * 12]))
    assert weight_BT.tolist() == [[0.25] * 4 + [1.0] * 2 + [0.25] * 4 + [1.0] * 2, [0.25] * 4 + [1.0] * 8]


def test_the_motion_baseline_distinguishes_more_motion_from_less() -> None:
    def noisy(strength: float, seed: int) -> Pixels:
        noise = np.random.default_rng(seed).normal(128, strength, (6, 32, 32, 3))
        return noise.clip(0, 255).astype(np.uint8)

    statistics_NF = np.stack([motion_statistics(noisy(40.0 if i % 2 else 4.0, i)) for i in range(8)])
    positive_N = np.arange(8) % 2 == 1
    scores_N = baseline_scores(statistics_NF[:6], positive_N[:6], statistics_NF[6:])
    assert scores_N[0] < 0.5 < scores_N[1]


def test_a_single_frame_has_no_motion() -> None:
    with pytest.raises(ValueError, match="three frames"):
        motion_statistics(np.zeros((2, 32, 32, 3), np.uint8))


def end_to_end(clip_list: Path, init: Path, out: Path, steps: int = 2) -> Cake:
    recipe = EndToEndRecipe(Schedule(steps=steps, warmup_steps=1), sequences=2, view_steps=10)
    failures = train_end_to_end(read_clips(clip_list), "calm", str(init), out, recipe, ALONE, SILENT)
    assert failures == {}
    return load_checkpoint(out)[0]


@pytest.mark.slow
def test_every_layer_learns_end_to_end_and_the_same_call_again_changes_nothing(
    clip_list: Path, init: Path, tmp_path: Path
) -> None:
    taught = end_to_end(clip_list, init, tmp_path)
    assert taught.config.labels == ("background", "fight")
    begun = load_checkpoint(str(init))[0]
    for part in ("trunk.stem", "trunk.stages", "motion", "static_head", "head.gru"):
        pairs = zip(taught.get_submodule(part).parameters(), begun.get_submodule(part).parameters(), strict=True)
        assert any(not torch.equal(mine, theirs) for mine, theirs in pairs), part
    again = end_to_end(clip_list, init, tmp_path)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(taught.parameters(), again.parameters(), strict=True))


@pytest.mark.slow
def test_a_checkpoint_of_the_same_labels_keeps_its_classifier(clip_list: Path, init: Path, tmp_path: Path) -> None:
    taught = end_to_end(clip_list, init, tmp_path)
    same = new_labels(taught, ("background", "fight"), "same", 0.5)
    other = new_labels(taught, ("background", "dance"), "other", 0.5)
    assert torch.equal(same.head.classify.weight, taught.head.classify.weight)
    assert not torch.equal(other.head.classify.weight, taught.head.classify.weight)


def test_a_list_of_clips_of_one_kind_is_rejected(clip_list: Path, init: Path, tmp_path: Path) -> None:
    fights = [clip for clip in read_clips(clip_list) if clip.label == "fight"]
    with pytest.raises(DataError, match="expected clips of 'calm'"):
        train_end_to_end(fights, "calm", str(init), tmp_path, EndToEndRecipe(), ALONE, SILENT)
