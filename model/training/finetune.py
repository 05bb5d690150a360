"""Training of the causal network with a label on every frame, on the CPU, in one or several processes.

Several one-thread processes, each with its own sequences and with their gradients averaged, beat one process of several
threads: memory traffic bounds this training. Process 0 is the caller's own.

Shapes: B sequences, T steps, K labels, J joints, G cells a side of the coverage mask, N = T * B.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from model.cake import Cake, time_major
from model.checkpoint import save_checkpoint
from model.config import ModelConfig
from model.training.batches import CELL, Batch, TrainingVideo, draw_batch


@dataclass(frozen=True)
class Recipe:
    """What was found to learn on two cores; see the model card of `mocap`."""

    steps: int = 4000
    sequences: int = 4
    """Per process."""
    sequence_steps: int = 32
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    background_weight: float = 0.6
    smoothing: float = 0.02
    onset_s: float = 0.4
    onset_weight: float = 0.4
    """An action looks like standing at first: its first `onset_s` seconds weigh less."""
    joint_weight: float = 2.0
    mask_weight: float = 0.5
    seed: int = 0
    checkpoint_every_s: float = 120.0


class RendererHead(nn.Module):
    """Predicts joints, their motion and the figure's coverage from the trunk's maps. Trained along, then left."""

    def __init__(self, config: ModelConfig, joints: int) -> None:
        super().__init__()
        width, side = (
            config.trunk.widths[-1],
            config.image_size // math.prod((config.trunk.stem_stride, *config.trunk.strides)),
        )
        self.side = side
        self.joints = nn.Linear(width * side * side, joints * 4)
        mask_stage = [math.prod((config.trunk.stem_stride, *config.trunk.strides[: i + 1])) for i in range(3)].index(
            CELL
        )
        self.mask_map = sum(config.trunk.depths[: mask_stage + 1])
        self.mask = nn.Conv2d(config.trunk.widths[mask_stage], 1, 1)

    def loss(self, maps: Sequence[Tensor], batch: Batch, recipe: Recipe) -> Tensor:
        """Smooth L1 of joints and of their movement between frames, and cross-entropy of the coverage."""
        assert batch.joints_BTJ2 is not None
        assert batch.mask_BTGG is not None
        joints_TBJ2 = batch.joints_BTJ2.transpose(0, 1)
        movement_TBJ2 = torch.zeros_like(joints_TBJ2)
        movement_TBJ2[1:] = joints_TBJ2[1:] - joints_TBJ2[:-1]
        wanted_NJ4 = torch.cat([joints_TBJ2, 4 * movement_TBJ2], dim=3).flatten(0, 1)
        found_NJ4 = self.joints(maps[-1].flatten(1)).view(wanted_NJ4.shape)
        mask_NGG = batch.mask_BTGG.transpose(0, 1).flatten(0, 1)
        mask_loss = F.binary_cross_entropy_with_logits(self.mask(maps[self.mask_map])[:, 0], mask_NGG)
        joint_loss = F.smooth_l1_loss(found_NJ4, wanted_NJ4, beta=0.1)
        return recipe.joint_weight * joint_loss + recipe.mask_weight * mask_loss


def frame_loss(logits_BTK: Tensor, batch: Batch, recipe: Recipe) -> Tensor:
    """Cross-entropy on every step, weighted by label and by time since the action began."""
    weight_BT = torch.where(batch.target_BT == 0, recipe.background_weight, 1.0)
    weight_BT = torch.where(batch.since_start_s_BT < recipe.onset_s, recipe.onset_weight, weight_BT)
    weight_BT[:, :4] *= 0.25
    loss_BT = F.cross_entropy(
        logits_BTK.flatten(0, 1), batch.target_BT.flatten(), reduction="none", label_smoothing=recipe.smoothing
    ).view_as(weight_BT)
    return (loss_BT * weight_BT).sum() / weight_BT.sum()


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def finetune(
    config: ModelConfig,
    load_videos: Callable[[], list[TrainingVideo]],
    out_dir: Path,
    recipe: Recipe,
    *,
    processes: int,
    on_step: Callable[[int, float], None],
) -> None:
    """Train and write a checkpoint into `out_dir`. Interrupted at any point, the same call goes on where it was.

    `load_videos` must be picklable: each process calls it. `on_step` gets the finished steps and the mean loss.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    for left_by_a_kill in out_dir.glob("rendezvous-*"):
        left_by_a_kill.unlink()
    rendezvous = out_dir / f"rendezvous-{os.getpid()}-{time.monotonic_ns()}"
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(
            target=_train, args=(rank, processes, rendezvous, config, load_videos, out_dir, recipe, None), daemon=True
        )
        for rank in range(1, processes)
    ]
    for process in others:
        process.start()
    try:
        _train(0, processes, rendezvous, config, load_videos, out_dir, recipe, on_step)
    finally:
        for process in others:
            process.join(timeout=10)
            process.kill()
            process.join()
        rendezvous.unlink(missing_ok=True)


def _train(
    rank: int,
    processes: int,
    rendezvous: Path,
    config: ModelConfig,
    load_videos: Callable[[], list[TrainingVideo]],
    out_dir: Path,
    recipe: Recipe,
    on_step: Callable[[int, float], None] | None,
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous.resolve()}", rank=rank, world_size=processes)
    try:
        torch.manual_seed(recipe.seed)
        videos = load_videos()
        network = _Network(config, videos, recipe)
        step = network.resume(out_dir)
        saved_at = time.monotonic()
        recent: list[float] = []
        while step < recipe.steps:
            rng = np.random.default_rng((recipe.seed, step, rank))
            recent.append(
                network.step(
                    draw_batch(
                        videos, rng, sequences=recipe.sequences, steps=recipe.sequence_steps, crop=config.image_size
                    ),
                    step,
                    processes,
                )
            )
            step += 1
            if on_step is None:
                continue
            on_step(step, float(np.mean(recent[-50:])))
            if time.monotonic() - saved_at > recipe.checkpoint_every_s or step == recipe.steps:
                network.save(out_dir, step, recent)
                saved_at, recent = time.monotonic(), []
    finally:
        dist.destroy_process_group()


class _Network:
    """The network, its renderer head and the optimiser of one process."""

    def __init__(self, config: ModelConfig, videos: Sequence[TrainingVideo], recipe: Recipe) -> None:
        self.recipe = recipe
        self.model = Cake(config).train()
        targets = [video.targets for video in videos]
        joints = 0 if any(t is None for t in targets) else targets[0].joints_TJ2.shape[1]  # type: ignore[union-attr]
        self.renderer = RendererHead(config, joints) if joints else None
        self.parameters = [*self.model.parameters(), *(self.renderer.parameters() if self.renderer else ())]
        matrices = [p for p in self.parameters if p.dim() > 1]
        others = [p for p in self.parameters if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
        )

    def step(self, batch: Batch, step: int, processes: int) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, self.recipe)
        streams = len(batch.images_BTCSS)
        maps = list(self.model.trunk.sequence_maps(time_major(batch.images_BTCSS), streams))
        loss = frame_loss(self.model.logits_of_map(maps[-1], streams), batch, self.recipe)
        total = loss if self.renderer is None else loss + self.renderer.loss(maps, batch, self.recipe)
        total.backward()
        self._average_gradients(processes)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return float(loss.detach())

    def _average_gradients(self, processes: int) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= processes
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def save(self, out_dir: Path, step: int, losses: Sequence[float]) -> None:
        save_checkpoint(out_dir, self.model)
        state = {
            "step": step,
            "recipe": asdict(self.recipe),
            "model": self.model.state_dict(),
            "renderer": None if self.renderer is None else self.renderer.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        partial = out_dir / "training.pt.partial"
        torch.save(state, partial)
        partial.replace(out_dir / "training.pt")
        with (out_dir / "log.jsonl").open("a") as log:
            log.write(json.dumps({"step": step, "loss": float(np.mean(losses)), "time": time.time()}) + "\n")

    def resume(self, out_dir: Path) -> int:
        """The step to go on from; 0 without an earlier run."""
        path = out_dir / "training.pt"
        if not path.is_file():
            return 0
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        if self.renderer is not None:
            self.renderer.load_state_dict(state["renderer"])
        self.optimiser.load_state_dict(state["optimiser"])
        return int(state["step"])
