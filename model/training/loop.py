"""The training loop of every stage: resumable, deterministic, in one or several processes.

Several one-thread processes, each with its own batches and with their gradients averaged, beat one process of several
threads on a CPU: memory traffic bounds this training. Process 0 is the caller's own.

The batch and the dropout of a step depend only on the seed, the step and the process, so a run that was killed and
resumed ends with the same weights as an uninterrupted one, up to the order of floating-point sums.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from model.atomic import write_atomically
from model.cpus import use_one_thread
from model.training.placement import Placement
from model.training.progress_log import ProgressLog
from model.training.recipe import Schedule

STATE_FILE = "state.pt"
LOG_EVERY = 20


class StageMismatchError(ValueError):
    """The folder holds a stage that was started with other settings."""


class TrainingDivergedError(ValueError):
    """A loss, a gradient or a weight of a stage is no longer finite. The last saved state is kept."""


class Objective(Protocol):
    """The objective of a stage. Each process creates its own."""

    @property
    def network(self) -> nn.Module:
        """Everything that is trained or kept; a checkpoint of the stage holds its state."""

    def draw(self, rng: np.random.Generator) -> Any:
        """A batch: tensors, or a dataclass, tuple or list of them."""

    def losses(self, batch: Any, step: int) -> Mapping[str, Tensor]:
        """`loss`, which is minimised, and other values to log."""


@dataclass(frozen=True)
class Stage:
    """One stage of a run."""

    name: str
    folder: Path
    """The folder of `state.pt`, from which it resumes, and of its log."""
    schedule: Schedule
    seed: int
    settings: Mapping[str, Any]
    """Everything its result depends on, serialisable as JSON: a folder with other settings is rejected."""
    checkpoint_every_s: float = 120.0


def finished(stage: Stage) -> bool:
    """Raises `StageMismatchError` for a folder of other settings."""
    state = _read_state(stage)
    return state is not None and state["step"] == stage.schedule.steps


def run_stage(
    stage: Stage,
    make_objective: Callable[[], Objective],
    placement: Placement,
    on_step: Callable[[int, int, float], None],
) -> None:
    """Train to the end of the schedule. An interrupted run resumes where it left off.

    Args:
        make_objective: must be picklable if there are several processes.
        on_step: called with the number of finished steps, the total, and the recent mean loss.

    Raises:
        StageMismatchError: the folder holds a stage with other settings.
        TrainingDivergedError: the loss is no longer finite.
    """
    if finished(stage):
        return
    stage.folder.mkdir(parents=True, exist_ok=True)
    for left_by_a_kill in stage.folder.glob("rendezvous-*"):
        left_by_a_kill.unlink()
    rendezvous = stage.folder / f"rendezvous-{os.getpid()}-{time.monotonic_ns()}"
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(
            target=_train_along, args=(rank, rendezvous, stage, make_objective, placement, None), daemon=True
        )
        for rank in range(1, placement.processes)
    ]
    for process in others:
        process.start()
    try:
        _train(0, rendezvous, stage, make_objective, placement, on_step)
    finally:
        for process in others:
            process.join(timeout=10)
            process.kill()
            process.join()
        rendezvous.unlink(missing_ok=True)


def load_network(stage: Stage, network: nn.Module, prefix: str = "") -> None:
    """The finished stage's weights into `network`, strictly: those whose names begin with `prefix`."""
    state = _read_state(stage)
    if state is None or state["step"] != stage.schedule.steps:
        raise StageMismatchError(f"the stage {stage.name} has not been finished; run it first: cake train {stage.name}")
    weights = {name.removeprefix(prefix): w for name, w in state["network"].items() if name.startswith(prefix)}
    network.load_state_dict(weights)


def _read_state(stage: Stage) -> dict[str, Any] | None:
    path = stage.folder / STATE_FILE
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    if state["settings"] != stage.settings:
        changed = sorted(key for key, value in stage.settings.items() if state["settings"].get(key) != value)
        raise StageMismatchError(
            f"{stage.folder} was started with other settings ({', '.join(changed)}); use another folder, or remove it"
        )
    return state


def _train_along(*arguments: Any) -> None:
    """Runs in the processes other than the caller's. If training diverges, the caller's process reports it."""
    with suppress(TrainingDivergedError):
        _train(*arguments)


def _train(
    rank: int,
    rendezvous: Path,
    stage: Stage,
    make_objective: Callable[[], Objective],
    placement: Placement,
    on_step: Callable[[int, int, float], None] | None,
) -> None:
    if placement.device == "cpu":
        use_one_thread()
    with ExitStack() as open_things:
        if placement.processes > 1:
            init_method = f"file://{rendezvous.resolve()}"
            dist.init_process_group("gloo", init_method=init_method, rank=rank, world_size=placement.processes)
            open_things.callback(dist.destroy_process_group)
        _seed(stage.seed, 0, 0)
        trainer = _Trainer(stage, make_objective(), placement)
        first = trainer.resume()
        log = open_things.enter_context(ProgressLog(stage.folder, first)) if rank == 0 else None
        saved_at = time.monotonic()
        steps = range(first, stage.schedule.steps)
        batches = DataLoader(
            _Batches(trainer.objective, stage.seed, rank),
            batch_size=None,
            sampler=steps,
            num_workers=placement.loaders,
            pin_memory=placement.device == "cuda",
        )
        for step, batch in zip(steps, batches, strict=True):
            _seed(stage.seed, step, rank)
            losses = trainer.step(batch, step)
            if log is None or on_step is None:
                continue
            done = step + 1
            log.add(done, {**losses, "learning_rate": learning_rate(step, stage.schedule)})
            on_step(done, stage.schedule.steps, log.recent_loss)
            if time.monotonic() - saved_at > stage.checkpoint_every_s or done == stage.schedule.steps:
                log.write(done)
                trainer.save(done)
                saved_at = time.monotonic()
            elif done % LOG_EVERY == 0:
                log.write(done)


def _seed(seed: int, step: int, rank: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0]))


class _Batches(Dataset[Any]):
    """Batch number `step`, the same in every process that draws it."""

    def __init__(self, objective: Objective, seed: int, rank: int) -> None:
        self._objective, self._seed, self._rank = objective, seed, rank

    def __getitem__(self, step: int) -> Any:
        return self._objective.draw(np.random.default_rng((self._seed, step, self._rank)))


def learning_rate(step: int, schedule: Schedule) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < schedule.warmup_steps:
        return schedule.learning_rate * (step + 1) / schedule.warmup_steps
    done = (step - schedule.warmup_steps) / max(1, schedule.steps - schedule.warmup_steps)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class _Trainer:
    """The objective and the optimiser of one process."""

    def __init__(self, stage: Stage, objective: Objective, placement: Placement) -> None:
        self.stage, self.objective, self.placement = stage, objective, placement
        objective.network.to(placement.device)
        self.parameters = [p for p in objective.network.parameters() if p.requires_grad]
        decay = stage.schedule.weight_decay
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [p for p in self.parameters if p.dim() > 1], "weight_decay": decay},
                {"params": [p for p in self.parameters if p.dim() <= 1], "weight_decay": 0.0},
            ],
            lr=stage.schedule.learning_rate,
        )

    def step(self, batch: Any, step: int) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, self.stage.schedule)
        with torch.autocast(self.placement.device, torch.bfloat16, enabled=self.placement.mixed_precision):
            losses = self.objective.losses(to_device(batch, self.placement.device), step)
        losses["loss"].backward()
        loss = losses["loss"].detach()
        if self.placement.processes > 1:
            loss = self._average_over_processes(loss)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.stage.schedule.clip_norm)
        if not torch.isfinite(loss) or not torch.isfinite(norm):
            raise self._diverged(step, f"the loss is {float(loss):g}, the gradient's length {float(norm):g}")
        self.optimiser.step()
        self.optimiser.zero_grad()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _average_over_processes(self, loss: Tensor) -> Tensor:
        """Average the gradients, and return the mean loss: all processes must stop at the same step."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch.cat([loss.view(1), *(gradient.flatten() for gradient in gradients)])
        dist.all_reduce(flat)
        flat /= self.placement.processes
        for gradient, mean in zip(gradients, flat[1:].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        return flat[0]

    def _diverged(self, step: int, what: str) -> TrainingDivergedError:
        return TrainingDivergedError(
            f"stage {self.stage.name} diverged at step {step + 1} of {self.stage.schedule.steps}: {what}. "
            f"The last good state is kept in {self.stage.folder}. Lower this stage's learning_rate "
            f"({self.stage.schedule.learning_rate:g}) in the recipe and train with another --out"
        )

    def save(self, step: int) -> None:
        """Store the state after `step` steps, unless it is not finite; then the last one is kept."""
        for name, tensor in self.objective.network.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise self._diverged(step - 1, f"{name} is no longer finite")
        state = {
            "step": step,
            "settings": dict(self.stage.settings),
            "network": self.objective.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        with write_atomically(self.stage.folder / STATE_FILE) as partial_path:
            torch.save(state, partial_path)

    def resume(self) -> int:
        """The step to continue from; 0 without an earlier run."""
        state = _read_state(self.stage)
        if state is None:
            return 0
        self.objective.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        return int(state["step"])


def to_device(batch: Any, device: str) -> Any:
    """The same batch with its tensors on the device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, (tuple, list)):
        return type(batch)(to_device(each, device) for each in batch)
    if hasattr(batch, "__dataclass_fields__"):
        return type(batch)(**{name: to_device(getattr(batch, name), device) for name in batch.__dataclass_fields__})
    return batch
