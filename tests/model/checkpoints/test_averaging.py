"""`cake models average`: one network from several that started from the same weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from model.config import DEFAULT_START_RULE, ModelConfig
from model.network.cake import Cake
from tests.support.cake_command import run
from tests.support.tiny_model import tiny_model


def changed(model: Cake, by: float) -> Cake:
    copy = Cake(model.config)
    copy.load_state_dict({k: v + by if v.is_floating_point() else v for k, v in model.state_dict().items()})
    return copy


def write(folder: Path, model: Cake, config: ModelConfig | None = None) -> Path:
    save_checkpoint(folder, model, config)
    return folder


def test_every_weight_and_statistic_is_the_mean_and_the_rules_are_to_be_chosen_again(tmp_path: Path) -> None:
    model = tiny_model()
    folders = [write(tmp_path / str(by), changed(model, by)) for by in (0.0, 0.5, 1.0)]
    status, _, reported = run("models", "average", *folders, "--out", tmp_path / "mean")
    assert status == 0, reported
    mean, _ = load_checkpoint(tmp_path / "mean")
    expected = changed(model, 0.5).state_dict()
    for name, tensor in mean.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])
    assert (mean.config.name, mean.config.start_rules["kick"]) == ("mean", DEFAULT_START_RULE)
    assert mean.config.frame_input == model.config.frame_input


def test_a_network_averaged_with_itself_stays_as_it_is(tmp_path: Path) -> None:
    folder = write(tmp_path / "one", tiny_model())
    assert run("models", "average", folder, folder, "--out", tmp_path / "mean").status == 0
    image_BCHW = torch.from_numpy(np.random.default_rng(0).random((1, 3, 32, 32), np.float32))
    scores = [load_checkpoint(each)[0].sequence(image_BCHW[None]) for each in (folder, tmp_path / "mean")]
    torch.testing.assert_close(scores[0], scores[1])


def test_networks_that_cannot_be_averaged_are_rejected_in_one_line(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", tiny_model()), tmp_path / "other"
    save_checkpoint(other, tiny_model(), replace(tiny_model().config, sample_hz=5.0))
    for folders, expected in (([one, other], "frame rate"), ([one], "at least two"), ([one, tmp_path / "no"], "no")):
        status, _, reported = run("models", "average", *folders, "--out", tmp_path / "mean")
        assert (status, reported.count("\n")) == (2, 1), reported
        assert expected in reported
    assert not (tmp_path / "mean").exists()
