"""Stage 3: the Dynamic Motion Adapter learns to produce the flow teacher's map from the RGB trunk's (arXiv 2603.23988).

If the trunk is frozen, it learns from cached maps, in minutes. Otherwise the trunk is trained along with it, from
images and on its labels. The attention's temperature falls from 5 to 1.

Shapes: B sequences, T steps, N = T * B in time-major order, C channels, H and W of the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.checkpoints.checkpoint import load_parts
from model.config import ModelConfig
from model.network.cake import time_major
from model.network.feature_head import FeatureHead
from model.network.motion import MotionAdapter
from model.network.odconv import Attention
from model.network.x3d import Trunk
from model.training.batches import Batch, TrainingVideo, draw_batch
from model.training.layouts.annotations import LabelledVideo
from model.training.loop import Stage, load_network, run_stage
from model.training.losses import distillation_loss
from model.training.progress import Progress
from model.training.recipe import DistillRecipe
from model.training.run import Run, load_videos
from model.training.stages.maps import Maps, MapSource, cache_maps, load_maps
from model.training.stages.single_stream import SingleStream, batch_loss
from model.training.stages.teacher import load_teacher, teacher_stage
from model.training.stages.trunk import load_trunk, trunk_stage


@dataclass(frozen=True)
class Student:
    """The part of the network that turns frames into the two feature vectors."""

    trunk: Trunk
    static_head: FeatureHead
    motion: MotionAdapter
    motion_head: FeatureHead
    """The teacher's: it reads the map that the adapter imitates."""


def distill_stage(run: Run) -> Stage:
    """The stage; its settings include those of trunk and teacher."""
    before = {"trunk": trunk_stage(run).settings, "teacher": teacher_stage(run).settings}
    return run.stage("distill", run.recipe.distill.schedule, recipe=asdict(run.recipe.distill), **before)


def distill(run: Run, progress: Progress) -> float:
    """Returns the mean cosine between the adapter's and the teacher's map on the validation videos; NaN if the motion
    branch is imported, which is left unchanged.
    """
    if run.recipe.motion_source == "imported":
        _imported_student(run)
        progress.on_stage(f"keeping the motion branch of {run.init}")
        return math.nan
    recipe = run.recipe.distill
    if recipe.freeze_trunk:
        cache_static_maps(run, run.training, progress)
    cache_teacher_maps(run, run.training if recipe.freeze_trunk else (), progress)
    progress.on_stage(f"distillation ({recipe.loss}) on {len(run.training)} videos")
    objective = MapObjective if recipe.freeze_trunk else _PictureObjective
    placement = run.placement.alone() if recipe.freeze_trunk else run.placement
    run_stage(distill_stage(run), partial(objective, run), placement, progress.on_step)
    cache_static_maps(run, run.validation, progress)
    cache_teacher_maps(run, run.validation, progress)
    cosine = _teacher_cosine(run)
    progress.on_stage(f"cosine between adapter and teacher on validation videos: {cosine:.3f}")
    return cosine


def cache_static_maps(run: Run, videos: Sequence[LabelledVideo], progress: Progress) -> None:
    """The last maps of the trunk that the adapter reads."""
    load = _load_trunk if run.recipe.distill.freeze_trunk else _load_student_trunk
    cache_maps(run, MapSource(_static_source(run), load, run.frames.path), videos, progress)


def load_static_maps(run: Run, video: LabelledVideo) -> Maps:
    """(V, T, C, H, W)."""
    return load_maps(run, _static_source(run), video)


def cache_teacher_maps(run: Run, videos: Sequence[LabelledVideo], progress: Progress) -> None:
    """The teacher's last maps of the optical flow, which the adapter learns to reproduce."""
    cache_maps(run, MapSource("teacher", _load_teacher, run.flow_path), videos, progress)


def _static_source(run: Run) -> str:
    return "trunk" if run.recipe.distill.freeze_trunk else "student"


def load_student(run: Run) -> Student:
    """`StageMismatchError` when a stage is not finished."""
    if run.recipe.motion_source == "imported":
        return _imported_student(run)
    stream, teacher = load_trunk(run), load_teacher(run)
    network = _network(run.config, run.recipe.distill, stream)
    load_network(distill_stage(run), network)
    motion = network["motion"]
    assert isinstance(motion, MotionAdapter)
    return Student(stream.eval().trunk, stream.feature_head, motion.eval(), teacher.feature_head)


def _imported_student(run: Run) -> Student:
    """The whole student from the checkpoint that the run started from."""
    assert run.init is not None
    config, stream = run.config, load_trunk(run)
    width = config.trunk.widths[-1]
    motion = MotionAdapter(width, config.motion_kernels, config.trunk.window_steps)
    motion_head = FeatureHead(width, config.head, config.head.feature_widths[1])
    load_parts(run.init, config.trunk, {"motion": motion, "motion_head": motion_head})
    return Student(stream.trunk, stream.feature_head, motion.eval(), motion_head.eval())


@torch.inference_mode()
def _teacher_cosine(run: Run) -> float:
    motion = load_student(run).motion
    cosines = []
    for video in run.validation:
        found = motion.sequence(torch.from_numpy(np.array(load_static_maps(run, video)[0], np.float32)), streams=1)
        wanted = torch.from_numpy(np.array(load_maps(run, "teacher", video)[0], np.float32))
        cosines.append(float(F.cosine_similarity(found, wanted, dim=1).mean()))
    return float(np.mean(cosines))


def _load_trunk(run: Run) -> Trunk:
    return load_trunk(run).trunk


def _load_teacher(run: Run) -> Trunk:
    return load_teacher(run).trunk


def _load_student_trunk(run: Run) -> Trunk:
    return load_student(run).trunk


def _network(config: ModelConfig, recipe: DistillRecipe, stream: SingleStream) -> nn.ModuleDict:
    width = config.trunk.widths[-1]
    network = nn.ModuleDict({"motion": MotionAdapter(width, config.motion_kernels, config.trunk.window_steps)})
    if recipe.loss == "mgd":
        network["generator"] = Generator(width, recipe.mgd_mask)
    if not recipe.freeze_trunk:
        network["stream"] = stream
    return network.train()


class Generator(nn.Module):
    """Masked generative distillation (Yang et al., ECCV 2022): restore the teacher's map from the student's, of which
    random places are hidden.
    """

    def __init__(self, channels: int, masked_share: float) -> None:
        super().__init__()
        self.masked_share = masked_share
        self.restore = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Restore the map (N, C, H, W) from a copy with random places set to 0."""
        hidden_N1HW = torch.rand_like(map_NCHW[:, :1]) < self.masked_share
        restored: Tensor = self.restore(map_NCHW.masked_fill(hidden_N1HW, 0))
        return restored


def _imitation_losses(
    network: nn.ModuleDict, recipe: DistillRecipe, map_NCHW: Tensor, wanted: Tensor, streams: int
) -> dict[str, Tensor]:
    """The loss that is minimised, under `imitation`, and the cosine between the two maps."""
    motion = network["motion"]
    assert isinstance(motion, MotionAdapter)
    found = motion.sequence(map_NCHW, streams)
    cosine = F.cosine_similarity(found.detach(), wanted, dim=1).mean()
    if recipe.loss == "mgd":
        return {"imitation": F.mse_loss(network["generator"](found), wanted), "cosine": cosine}
    return {"imitation": distillation_loss(found, wanted, recipe.loss), "cosine": cosine}


def _set_temperature(network: nn.ModuleDict, recipe: DistillRecipe, step: int) -> None:
    """Linear to 1 over the first half of the steps."""
    done = min(1.0, 2 * step / recipe.schedule.steps)
    for module in network.modules():
        if isinstance(module, Attention):
            module.temperature = recipe.first_temperature + (1 - recipe.first_temperature) * done


class MapObjective:
    """The adapter learns from cached maps of trunk and teacher; the trunk stays as it is."""

    def __init__(self, run: Run) -> None:
        self.recipe = run.recipe.distill
        self.network = _network(run.config, self.recipe, SingleStream(run.config))
        pairs = [(load_maps(run, "trunk", video), load_maps(run, "teacher", video)) for video in run.training]
        self.pairs = [pair for pair in pairs if pair[0].shape[1] >= self.recipe.sequence_steps]
        if not self.pairs:
            raise ValueError(f"no video has {self.recipe.sequence_steps} frames; distil with shorter sequences")

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Windows of the trunk's and of the teacher's map, each (T * B, C, H, W)."""
        drawn = [
            _draw_window(self.pairs[rng.integers(len(self.pairs))], rng, self.recipe)
            for _ in range(self.recipe.sequences)
        ]
        static, wanted = (torch.from_numpy(np.stack(maps, axis=1)).flatten(0, 1) for maps in zip(*drawn, strict=True))
        return static, wanted

    def losses(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        """How far the adapter's map is from the teacher's."""
        _set_temperature(self.network, self.recipe, step)
        static, wanted = (maps.float().contiguous(memory_format=torch.channels_last) for maps in batch)
        losses = _imitation_losses(self.network, self.recipe, static, wanted, self.recipe.sequences)
        return {"loss": losses["imitation"], "cosine": losses["cosine"]}


def _draw_window(pair: tuple[Maps, Maps], rng: np.random.Generator, recipe: DistillRecipe) -> tuple[Maps, Maps]:
    views, frames = pair[0].shape[:2]
    view, start = int(rng.integers(views)), int(rng.integers(frames - recipe.sequence_steps + 1))
    static, wanted = (maps[view, start : start + recipe.sequence_steps] for maps in pair)
    return static, wanted


class _PictureObjective:
    """The trunk is trained as well: on the teacher's map, and on the labels as in its own stage."""

    def __init__(self, run: Run) -> None:
        self.recipe, self.labels = run.recipe.distill, run.recipe.trunk
        self.network = _network(run.config, self.recipe, load_trunk(run))
        self.teacher = load_teacher(run).to(run.placement.device)
        self.frames: Sequence[TrainingVideo] = load_videos(run, run.frames.path)
        self.flows: Sequence[TrainingVideo] = load_videos(run, run.flow_path)

    def draw(self, rng: np.random.Generator) -> tuple[Batch, Batch]:
        """The same windows and views of both."""
        state = rng.bit_generator.state
        frames = draw_batch(self.frames, rng, sequences=self.labels.sequences, steps=self.labels.sequence_steps)
        rng.bit_generator.state = state
        return frames, draw_batch(self.flows, rng, sequences=self.labels.sequences, steps=self.labels.sequence_steps)

    def losses(self, batch: tuple[Batch, Batch], step: int) -> dict[str, Tensor]:
        _set_temperature(self.network, self.recipe, step)
        frames, flows = batch
        stream, streams = self.network["stream"], self.labels.sequences
        assert isinstance(stream, SingleStream)
        *_, static = stream.trunk.sequence_maps(time_major(frames.images_BTCSS), streams)
        with torch.no_grad():
            *_, wanted = self.teacher.trunk.sequence_maps(time_major(flows.images_BTCSS), streams)
        logits_BTK = stream.logits_of_map(static, streams)
        labels = batch_loss(logits_BTK, frames, self.labels.labels)
        losses = _imitation_losses(self.network, self.recipe, static, wanted, streams)
        return {"loss": labels + losses["imitation"], "labels": labels, **losses}
