"""The sources of motion features of an ablation's variants.

Shapes: V views, T frames, D features of a branch, B sequences, N = T * B frames in time-major order, C channels, H and
W of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network.cake import batch_major
from model.network.causal import CausalDepthwise
from model.network.feature_head import FeatureHead
from model.network.head import Head
from model.network.motion import MotionAdapter
from model.training.layouts.annotations import LabelledVideo
from model.training.layouts.segments import FrameLabels, label_frames
from model.training.loop import Stage, load_network, run_stage
from model.training.losses import frame_loss, frame_weights
from model.training.progress import Progress
from model.training.run import Run
from model.training.stages.distill import MapObjective, load_static_maps
from model.training.stages.maps import load_maps
from model.training.stages.teacher import load_teacher

MotionSource = Literal["none", "static convolution", "dynamic convolution", "distilled", "real flow"]
Features = NDArray[np.float32]


class StaticAdapter(nn.Module):
    """The motion adapter's layers with fixed instead of dynamic kernels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.adapt_depthwise = CausalDepthwise(channels, taps=3, kernel=3)
        self.adapt_depthwise_norm = nn.BatchNorm2d(channels)
        self.adapt_pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.adapt_pointwise_norm = nn.BatchNorm2d(channels)
        self.temporal = nn.Conv2d(3 * channels, channels, 1, bias=False)
        self.temporal_norm = nn.BatchNorm2d(channels)
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.spatial_norm = nn.BatchNorm2d(channels)

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        """The motion map of each frame, given time-major maps of `streams` streams; same shape."""
        y_NCHW = F.relu(self.adapt_depthwise_norm(self.adapt_depthwise.sequence(x_NCHW, streams)))
        y_NCHW = F.relu(self.adapt_pointwise_norm(self.adapt_pointwise(y_NCHW)))
        padded = torch.cat([torch.zeros_like(y_NCHW[: 2 * streams]), y_NCHW])
        taps = torch.cat([padded[tap * streams : tap * streams + len(y_NCHW)] for tap in range(3)], dim=1)
        y_NCHW = F.silu(self.temporal_norm(self.temporal(taps)))
        return F.silu(self.spatial_norm(self.spatial(y_NCHW)))


@dataclass(frozen=True)
class MotionBranch:
    """A trained source of motion features; it runs on the maps of any run that has the same trunk and teacher."""

    adapter: StaticAdapter | MotionAdapter | None
    """None: the features come from the teacher's own maps of the real flow."""
    feature_head: FeatureHead

    @torch.inference_mode()
    def features(self, run: Run, video: LabelledVideo) -> Features:
        """Features (V, T, D) of every view of a video, given its maps in the run's cache."""
        maps_VTCHW = load_maps(run, "teacher", video) if self.adapter is None else load_static_maps(run, video)
        return np.stack([self.feature_head.sequence(self._map(maps), streams=1).numpy() for maps in maps_VTCHW])

    @torch.inference_mode()
    def teacher_cosine(self, run: Run, videos: Sequence[LabelledVideo]) -> float:
        """Mean cosine between this branch's map and the teacher's, on whole frames."""
        cosines = []
        for video in videos:
            wanted = torch.from_numpy(np.array(load_maps(run, "teacher", video)[0], np.float32))
            found = wanted if self.adapter is None else self._map(load_static_maps(run, video)[0])
            cosines.append(float(F.cosine_similarity(found, wanted, dim=1).mean()))
        return float(np.mean(cosines))

    def _map(self, maps_TCHW: NDArray[np.float16]) -> Tensor:
        map_NCHW = torch.from_numpy(np.array(maps_TCHW, np.float32))
        return map_NCHW if self.adapter is None else self.adapter.sequence(map_NCHW, streams=1)


def learn_motion(run: Run, motion: MotionSource, folder: Path, seed: int, progress: Progress) -> MotionBranch | None:
    """Train the variant's motion branch, under `folder`; returns None for a variant without one."""
    match motion:
        case "none":
            return None
        case "real flow":
            return MotionBranch(None, load_teacher(run).feature_head)
        case "distilled":
            return MotionBranch(_distil(run, folder, seed, progress), load_teacher(run).feature_head)
        case "static convolution" | "dynamic convolution":
            return MotionBranch(*_learn_from_labels(run, motion, folder, seed, progress))


def _distil(run: Run, folder: Path, seed: int, progress: Progress) -> MotionAdapter:
    recipe = run.recipe.distill
    stage = Stage("distilled", folder / "distilled", recipe.schedule, seed, asdict(recipe))
    progress.on_stage(f"distillation, seed {seed}")
    run_stage(stage, partial(MapObjective, run), run.placement.alone(), progress.on_step)
    adapter = MotionAdapter(run.config.trunk.widths[-1], run.config.motion_kernels, run.config.trunk.window_steps)
    load_network(stage, adapter, prefix="motion.")
    return adapter.eval()


def _learn_from_labels(
    run: Run, motion: MotionSource, folder: Path, seed: int, progress: Progress
) -> tuple[StaticAdapter | MotionAdapter, FeatureHead]:
    name = motion.replace(" ", "-")
    stage = Stage(name, folder / name, run.recipe.distill.schedule, seed, asdict(run.recipe.distill))
    progress.on_stage(f"{motion} from labels, seed {seed}")
    run_stage(stage, partial(_LabelObjective, run, motion), run.placement.alone(), progress.on_step)
    network = _LabelObjective(run, motion).network
    load_network(stage, network)
    network.eval()
    adapter, feature_head = network["motion"], network["motion_head"]
    assert isinstance(adapter, StaticAdapter | MotionAdapter)
    assert isinstance(feature_head, FeatureHead)
    return adapter, feature_head


@dataclass(frozen=True)
class _MapBatch:
    static_NCHW: Tensor
    target_BTK: Tensor
    weight_BT: Tensor


class _LabelObjective:
    """The motion branch learns from the labels, through a head on both branches that is discarded afterwards."""

    def __init__(self, run: Run, motion: MotionSource) -> None:
        self.recipe, self.weights = run.recipe.distill, run.recipe.head.labels
        config, width = run.config, run.config.trunk.widths[-1]
        dynamic = MotionAdapter(width, config.motion_kernels, config.trunk.window_steps)
        self.network = nn.ModuleDict(
            {
                "motion": dynamic if motion == "dynamic convolution" else StaticAdapter(width),
                "motion_head": FeatureHead(width, config.head),
                "static_head": FeatureHead(width, config.head),
                "head": Head(config.head, len(config.labels)),
            }
        ).train()
        self.videos = [_load(run, video) for video in run.training]

    def draw(self, rng: np.random.Generator) -> _MapBatch:
        drawn = [self._window(rng) for _ in range(self.recipe.sequences)]
        maps = np.stack([maps_TCHW for maps_TCHW, _ in drawn], axis=1).astype(np.float32)
        targets, since_s, ambiguous = (
            torch.from_numpy(np.stack(arrays))
            for arrays in zip(*((d.target_TK, d.since_start_s_T, d.ambiguous_T) for _, d in drawn), strict=True)
        )
        weight_BT = frame_weights(targets, since_s, ambiguous, self.weights)
        return _MapBatch(torch.from_numpy(maps).flatten(0, 1), targets, weight_BT)

    def _window(self, rng: np.random.Generator) -> tuple[NDArray[np.float16], FrameLabels]:
        maps_VTCHW, labels = self.videos[rng.integers(len(self.videos))]
        view = int(rng.integers(len(maps_VTCHW)))
        start = int(rng.integers(len(labels.target_TK) - self.recipe.sequence_steps + 1))
        window = slice(start, start + self.recipe.sequence_steps)
        return maps_VTCHW[view, window], labels.part(window)

    def losses(self, batch: _MapBatch, step: int) -> dict[str, Tensor]:
        streams, network, static = self.recipe.sequences, self.network, batch.static_NCHW
        head, adapter = network["head"], network["motion"]
        static_head, motion_head = network["static_head"], network["motion_head"]
        assert isinstance(head, Head)
        assert isinstance(adapter, StaticAdapter | MotionAdapter)
        assert isinstance(static_head, FeatureHead)
        assert isinstance(motion_head, FeatureHead)
        moved = adapter.sequence(static, streams)
        features_NF = torch.cat([static_head.sequence(static, streams), motion_head.sequence(moved, streams)], dim=1)
        logits_BTK, _ = head.logits(batch_major(features_NF, streams), head.fresh(streams))
        return {"loss": frame_loss(logits_BTK, batch.target_BTK, batch.weight_BT, self.weights.smoothing)}


def _load(run: Run, video: LabelledVideo) -> tuple[NDArray[np.float16], FrameLabels]:
    return load_static_maps(run, video), label_frames(video.segments, run.config.labels, run.frames.load_pts_s(video))
