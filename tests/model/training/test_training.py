"""`cake train` from videos to a calibrated checkpoint: through kills, with other settings, and stage by stage."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from model.architectures import cake_xs
from model.checkpoints.checkpoint import load_checkpoint
from model.checkpoints.stored import read_config
from model.detector import Detector
from model.network.odconv import Attention
from model.training.flow import dis_flow
from model.training.layouts.annotations import read_annotations
from model.training.loop import StageMismatchError, learning_rate
from model.training.progress_log import ProgressLog
from model.training.recipe import Recipe, RecipeError, Schedule, StageName
from model.training.stages.contrast import Queues
from model.training.stages.distill import distill, load_student
from model.training.stages.maps import past_steps, trunk_maps
from model.training.stages.single_stream import SingleStream
from model.training.stages.teacher import load_teacher, train_teacher
from model.training.stages.trunk import load_trunk, train_trunk
from model.training.train import train
from model.training.views import MARGIN, View, see_images
from tests.support.cake_command import run
from tests.support.training_kit import ALONE, SILENT, STEPS, TINY, open_tiny_run, with_distillation

TRAINED_STAGES = ("trunk", "teacher", "distill", "contrast", "head")


def train_arguments(data: Path, out: Path, *stage: str, processes: int = 1) -> list[str]:
    recipe = out.parent / f"{out.name}.recipe.json"
    recipe.write_text(json.dumps(TINY.to_json()))
    options = {"--data": data, "--out": out, "--recipe": recipe, "--processes": processes, "--checkpoint-every-s": 0}
    return ["train", *stage, *(str(part) for pair in options.items() for part in pair)]


@pytest.fixture(scope="module")
def trained(streams: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of two processes that was killed when its teacher had been saved once, and then started again with one."""
    with TemporaryDirectory(prefix="runs", dir=tmp_path_factory.getbasetemp()) as folder:
        yield killed_and_continued(streams, Path(folder) / "killed")


def killed_and_continued(streams: Path, out: Path) -> Path:
    command = (sys.executable, "-m", "service.cli.main", *train_arguments(streams, out, processes=2))
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as first:
        while first.poll() is None and not (out / "stages" / "teacher" / "state.pt").exists():
            with suppress(subprocess.TimeoutExpired):
                first.wait(timeout=0.02)
        first.send_signal(signal.SIGKILL)
    assert not (out / "model.safetensors").exists(), "it was killed before its end"
    assert run(*train_arguments(streams, out)).status == 0
    return out


def logged_steps(run: Path, stage: str) -> list[int]:
    lines = (run / "stages" / stage / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("stage", TRAINED_STAGES)
def test_every_stage_ends_at_its_last_step_and_logs_no_step_twice(trained: Path, stage: str) -> None:
    steps = logged_steps(trained, stage)
    assert steps[-1] == STEPS
    assert sorted(set(steps)) == steps


@pytest.mark.slow
@pytest.mark.parametrize("stage", TRAINED_STAGES)
def test_tensorboard_shows_the_losses_of_every_stage(trained: Path, stage: str) -> None:
    board = EventAccumulator(str(trained / "tensorboard" / stage))
    board.Reload()
    assert {"loss", "learning_rate"} <= set(board.Tags()["scalars"])


@pytest.mark.slow
def test_a_trained_checkpoint_knows_its_labels_and_has_a_rule_for_each(trained: Path, streams: Path) -> None:
    config = read_config(trained)
    expected = {label for video in read_annotations(streams) for _, _, label in video.segments}
    assert set(config.labels[1:]) == expected
    assert set(config.start_rules) == expected


@pytest.mark.slow
def test_the_report_names_every_label(trained: Path) -> None:
    report = (trained / "report.html").read_text()
    assert all(label in report for label in read_config(trained).labels[1:])


@pytest.mark.slow
def test_a_trained_checkpoint_is_served_as_it_is(trained: Path) -> None:
    detector = Detector.load(trained)
    assert detector.reference_scores.keys() <= set(detector.config.labels[1:])
    assert detector.reference_scores
    size = detector.config.image_size
    scores = detector.push([detector.open_stream()], np.zeros((1, size, size, 3), np.uint8))
    assert scores.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_two_runs_with_one_seed_agree_and_another_seed_differs(streams: Path, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> dict[str, Tensor]:
        run = open_tiny_run(streams, tmp_path / name, replace(TINY, seed=seed))
        train_trunk(run, SILENT)
        return load_trunk(run).state_dict()

    first, second, other = weights("a", 1), weights("b", 1), weights("c", 2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.classify.weight"], other["head.classify.weight"])


@pytest.mark.slow
def test_loader_processes_prepare_the_same_batches_as_the_training_process(streams: Path, tmp_path: Path) -> None:
    def weights(loaders: int) -> dict[str, Tensor]:
        run = open_tiny_run(streams, tmp_path / f"{loaders}", placement=replace(ALONE, loaders=loaders))
        train_trunk(run, SILENT)
        return load_trunk(run).state_dict()

    alone, loaded = weights(0), weights(2)
    assert all(torch.equal(alone[name], loaded[name]) for name in alone)


@pytest.mark.slow
def test_mixed_precision_learns_about_the_same(streams: Path, tmp_path: Path) -> None:
    def losses(mixed_precision: bool) -> list[float]:
        out = tmp_path / f"{mixed_precision}"
        placement = replace(ALONE, mixed_precision=mixed_precision)
        run = open_tiny_run(streams, out, placement=placement, saves_each_step=True)
        train_trunk(run, SILENT)
        lines = (out / "stages" / "trunk" / "log.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    assert losses(True) == pytest.approx(losses(False), rel=0.1)
    assert losses(True) != losses(False), "it is another precision"


@pytest.mark.slow
def test_a_stage_that_was_cut_off_ends_with_the_weights_of_one_that_was_not(streams: Path, tmp_path: Path) -> None:
    whole, cut = (open_tiny_run(streams, tmp_path / name, saves_each_step=True) for name in ("whole", "cut"))
    train_trunk(whole, SILENT)

    def stop_at_3(done: int, total: int, loss: float) -> None:
        if done == 4:  # step 3 is saved, step 4 is not
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_trunk(cut, replace(SILENT, on_step=stop_at_3))
    train_trunk(cut, SILENT)
    after, expected = load_trunk(cut).state_dict(), load_trunk(whole).state_dict()
    assert all(torch.allclose(after[name], expected[name], atol=1e-6) for name in expected)


def test_an_incomplete_line_of_the_log_after_a_kill_is_ignored(tmp_path: Path) -> None:
    folder = tmp_path / "stages" / "trunk"
    folder.mkdir(parents=True)
    whole = [json.dumps({"step": step, "loss": 1.0}) for step in (20, 40)]
    (folder / "log.jsonl").write_text("\n".join([*whole, '{"step": 6']))
    with ProgressLog(folder, first_step=20):
        pass
    assert (folder / "log.jsonl").read_text().splitlines() == whole[:1]


def test_a_run_of_another_recipe_is_refused(streams: Path, tmp_path: Path) -> None:
    open_tiny_run(streams, tmp_path / "run")
    with pytest.raises(StageMismatchError, match="started with another recipe"):
        open_tiny_run(streams, tmp_path / "run", replace(TINY, seed=9))


def test_a_stage_whose_predecessor_is_missing_names_it(streams: Path, tmp_path: Path) -> None:
    done = run(*train_arguments(streams, tmp_path / "run", "head"))
    assert done.status == 2
    assert "cake train" in done.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sed": 1}, "sed"),
        ({"trunk": {"schedule": {"steps": 0}}}, "steps >= 1"),
        ({"distill": {"loss": "l1"}}, "distill.loss"),
        ({"contrast": {"kind": "fixed"}}, "contrast.kind"),
    ],
)
def test_an_invalid_recipe_is_reported_with_its_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_json(change)


def test_a_recipe_survives_json() -> None:
    assert Recipe.from_json(json.loads(json.dumps(TINY.to_json()))) == TINY


@pytest.fixture(scope="module")
def with_teacher(streams: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose trunk and teacher are trained, and nothing after."""
    out = tmp_path_factory.mktemp("teacher") / "run"
    run = open_tiny_run(streams, out)
    train(run, SILENT, [StageName.TRUNK, StageName.TEACHER])
    return out


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"loss": "mse"}, {"loss": "mgd"}, {"loss": "cosine"}, {"freeze_trunk": False}])
def test_distillation_brings_the_adapter_nearer_to_the_teacher(
    streams: Path, with_teacher: Path, changes: dict[str, object], tmp_path: Path
) -> None:
    recipe = with_distillation(**changes, schedule=Schedule(20, warmup_steps=2, learning_rate=5e-3))
    shutil.copytree(with_teacher / "stages", tmp_path / "run" / "stages")
    (tmp_path / "run" / "cache").symlink_to(with_teacher / "cache")
    run = open_tiny_run(streams, tmp_path / "run", recipe, saves_each_step=True)
    cosine = distill(run, SILENT)
    lines = (tmp_path / "run" / "stages" / "distill" / "log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert all(-1 <= json.loads(line)["cosine"] <= 1 for line in lines)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert -1 <= cosine <= 1
    temperatures = {m.temperature for m in load_student(run).motion.modules() if isinstance(m, Attention)}
    assert temperatures == {1.0}, "what serves has no temperature"


@pytest.mark.slow
def test_the_teacher_sees_two_channels_and_the_trunk_three(streams: Path, with_teacher: Path) -> None:
    run = open_tiny_run(streams, with_teacher)
    assert load_teacher(run).trunk.config.input_channels == 2
    assert load_trunk(run).trunk.config.input_channels == 3


@pytest.mark.slow
def test_a_finished_stage_is_not_trained_again(streams: Path, with_teacher: Path) -> None:
    run = open_tiny_run(streams, with_teacher)
    before = (with_teacher / "stages" / "teacher" / "state.pt").stat().st_mtime_ns
    train_teacher(run, SILENT)
    assert (with_teacher / "stages" / "teacher" / "state.pt").stat().st_mtime_ns == before


def test_flow_follows_an_image_that_moves_and_begins_with_none() -> None:
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(0, 255, (20, 20, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    images = np.stack([scene[20 : 20 + 64, 20 - 3 * t : 84 - 3 * t] for t in range(3)])
    flow = dis_flow(images)
    assert not flow[0].any()
    middle_x, middle_y = np.median(flow[1:, 16:48, 16:48], axis=(0, 1, 2))
    assert (middle_x, middle_y) == (pytest.approx(3, abs=0.3), pytest.approx(0, abs=0.3))


def test_flow_is_clamped_scaled_and_shrinks_with_the_image() -> None:
    flow = np.full((1, 96 + MARGIN, 96 + MARGIN, 2), 10.0, np.float16)
    assert see_images(flow, View((0, 0))).mean() == pytest.approx(10 / 20)
    assert see_images(flow, View(None)).mean() == pytest.approx(10 / 20 * 96 / (96 + MARGIN))
    assert see_images(10 * flow, View((0, 0))).max() == 1


@pytest.mark.slow
def test_maps_made_in_chunks_equal_those_of_the_whole_video() -> None:
    torch.manual_seed(0)
    trunk = SingleStream(cake_xs(("background", "kick"))).trunk.eval()
    frames = past_steps(trunk.config) + 40
    images = np.random.default_rng(0).integers(0, 255, (frames, 96 + MARGIN, 96 + MARGIN, 3), dtype=np.uint8)
    whole = trunk_maps(trunk, images, View(None), chunk_steps=frames)
    cut = trunk_maps(trunk, images, View(None), chunk_steps=past_steps(trunk.config) // 2 + 60)
    assert np.abs(whole.astype(float) - cut.astype(float)).max() < 1e-2 * np.abs(whole).max()


def test_a_queue_keeps_the_newest_keys_of_each_label() -> None:
    queues = Queues(labels=2, length=3, dimension=1)
    for value in range(5):
        queues.push(torch.tensor([[float(value)]]), torch.tensor([[0.0, 1.0]]))
    assert queues.filled.tolist() == [[False] * 3, [True] * 3]
    assert sorted(queues.keys[1, :, 0].tolist()) == [2, 3, 4]
    queues.push(torch.arange(10.0, 20.0)[:, None], torch.tensor([[1.0, 0.0]] * 10))
    assert sorted(queues.keys[0, :, 0].tolist()) == [17, 18, 19]


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate(step, schedule) for step in range(101)]
    assert max(rates) == rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0)


@pytest.mark.slow
def test_training_can_begin_with_the_trunk_of_a_checkpoint(streams: Path, trained: Path, tmp_path: Path) -> None:
    known, _ = load_checkpoint(trained)
    run = replace(open_tiny_run(streams, tmp_path / "run"), init=trained)
    slow = replace(TINY, trunk=replace(TINY.trunk, schedule=Schedule(1, learning_rate=1e-9)))
    train_trunk(replace(run, recipe=slow), SILENT)
    begun = load_trunk(replace(run, recipe=slow)).trunk
    for name, weight in known.trunk.named_parameters():
        assert torch.allclose(begun.get_parameter(name), weight, atol=1e-6)
