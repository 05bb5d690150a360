"""A training that diverges stops immediately and keeps its last good state; nothing measures or loads the rest."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.checkpoints.checkpoint import load_checkpoint, load_parts, save_checkpoint
from model.checkpoints.folders import WEIGHTS_FILE
from model.checkpoints.stored import CheckpointError
from model.config import BACKGROUND
from model.metrics import average_precision, calibrated_average_precision, start_average_precision
from model.training.evaluation.scores import StreamScores
from model.training.loop import STATE_FILE, Stage, TrainingDivergedError, run_stage
from model.training.placement import Placement
from model.training.recipe import Schedule
from tests.support.tiny_model import tiny_model


class Diverging:
    """Its loss is infinite at one step, in one process only."""

    def __init__(self, bad_step: int, bad_value: float) -> None:
        self.network = nn.Linear(2, 1)
        self.bad_step, self.bad_value = bad_step, bad_value

    def draw(self, rng: np.random.Generator) -> Tensor:
        return torch.from_numpy(rng.normal(size=(4, 2)).astype(np.float32))

    def losses(self, batch: Tensor, step: int) -> Mapping[str, Tensor]:
        loss = self.network(batch).square().mean()
        is_bad = step == self.bad_step and (not torch.distributed.is_initialized() or torch.distributed.get_rank() == 1)
        return {"loss": loss * self.bad_value if is_bad else loss}


def stage_in(folder: Path, steps: int = 20, learning_rate: float = 1e-3) -> Stage:
    schedule = Schedule(steps, learning_rate=learning_rate, warmup_steps=0)
    return Stage("trunk", folder, schedule, 0, {}, checkpoint_every_s=0)


@pytest.mark.slow
@pytest.mark.parametrize(("value", "processes"), [(float("nan"), 1), (float("inf"), 1), (float("nan"), 2)])
def test_a_stage_stops_at_the_first_loss_that_is_not_finite(
    tmp_path: Path, value: float, processes: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainingDivergedError, match=r"stage trunk diverged at step 8 of 20.*learning_rate \(0\.001\)"):
        run_stage(
            stage_in(tmp_path), partial(Diverging, 7, value), Placement("cpu", processes, 0, False), lambda *_: None
        )
    state = torch.load(tmp_path / STATE_FILE, weights_only=True)
    assert state["step"] == 7
    assert all(torch.isfinite(tensor).all() for tensor in state["network"].values())
    assert "Traceback" not in capfd.readouterr().err


def test_a_learning_rate_that_is_far_too_high_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match="diverged at step"):
        run_stage(
            stage_in(tmp_path, steps=3, learning_rate=1e30),
            partial(Diverging, 99, 1.0),
            Placement("cpu", 1, 0, False),
            lambda *_: None,
        )


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_checkpoint_with_a_weight_that_is_not_finite_is_refused_by_the_tensor_s_name(
    tmp_path: Path, value: float
) -> None:
    network = tiny_model()
    save_checkpoint(tmp_path / "bad", network)
    weights = load_file(tmp_path / "bad" / WEIGHTS_FILE)
    weights["motion.temporal.weight"].view(-1)[3] = value
    save_file(weights, tmp_path / "bad" / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match=r"bad/model\.safetensors: motion\.temporal\.weight has 1 of \d+ values"):
        load_checkpoint(tmp_path / "bad")
    with pytest.raises(CheckpointError, match=r"motion\.temporal\.weight"):
        load_parts(tmp_path / "bad", network.config.trunk, {"trunk": network.trunk})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_metrics_refuse_scores_that_are_not_finite(value: float) -> None:
    scores, positives = np.array([value, 0.5, 0.2]), np.array([True, False, True])
    for measure in (average_precision, calibrated_average_precision):
        with pytest.raises(ValueError, match="finite"):
            measure(scores, positives)
    with pytest.raises(ValueError, match="finite"):
        start_average_precision(np.arange(3.0), scores, np.array([1.0]), 1.0)
    with pytest.raises(ValueError, match=r"film: the model's scores are not finite from 0\.1 s on"):
        StreamScores("film", np.array([0.0, 0.1]), np.array([[0.5, 0.5], [0.5, value]]), [(0.0, 0.1, BACKGROUND)])
