"""A causal network of one stream: the RGB trunk before it has a motion branch, and the optical-flow teacher.

Both learn from a label on every frame and, for rendered videos, from the renderer's data about each frame.

Shapes: B sequences, T steps, N = T * B frames in time-major order, C channels, H and W pixels, K labels, J joints, G
cells a side of the coverage mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import ModelConfig
from model.network.cake import batch_major, time_major
from model.network.feature_head import FeatureHead
from model.network.head import Head
from model.network.x3d import Trunk
from model.training.batches import Batch, TrainingVideo, draw_batch
from model.training.losses import frame_loss, frame_weights
from model.training.recipe import LabelWeights, SequenceRecipe
from model.training.views import CELL


def teacher_config(config: ModelConfig) -> ModelConfig:
    """The same network on the two channels of optical flow."""
    return replace(config, name=f"{config.name}-teacher", trunk=config.trunk.on_flow)


class SingleStream(nn.Module):
    """Trunk, feature head and GRU classifier of one stream; layers as in `model.network.cake`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.trunk)
        self.feature_head = FeatureHead(config.trunk.widths[-1], config.head)
        self.head = Head(config.head, len(config.labels), config.head.feature_dim)

    def sequence(self, x_BTCHW: Tensor) -> Tensor:
        """Logits (B, T, K) of RGB normalised by `model.video.preprocess`, or of flow scaled to +-1."""
        *_, map_NCHW = self.trunk.sequence_maps(time_major(x_BTCHW), len(x_BTCHW))
        return self.logits_of_map(map_NCHW, len(x_BTCHW))

    def logits_of_map(self, map_NCHW: Tensor, streams: int) -> Tensor:
        """Logits (B, T, K) of the trunk's last map (T * B, C, H, W) in time-major order."""
        features_BTD = batch_major(self.feature_head.sequence(map_NCHW, streams), streams)
        return self.head.logits(features_BTD, self.head.fresh(streams))[0]


def batch_loss(logits_BTK: Tensor, batch: Batch, weights: LabelWeights) -> Tensor:
    """The frame loss of a batch of labelled sequences."""
    weight_BT = frame_weights(batch.target_BTK, batch.since_start_s_BT, batch.ambiguous_BT, weights)
    return frame_loss(logits_BTK, batch.target_BTK, weight_BT, weights.smoothing)


class RendererHead(nn.Module):
    """Predicts joints, their motion and the figure's coverage from the trunk's maps. It is trained with the trunk
    and then discarded.
    """

    def __init__(self, config: ModelConfig, joints: int) -> None:
        super().__init__()
        trunk = config.trunk
        strides = [math.prod((trunk.stem_stride, *trunk.strides[: i + 1])) for i in range(len(trunk.strides))]
        side = -(-config.image_size // strides[-1])
        mask_stage = strides.index(CELL)
        self.joints = nn.Linear(trunk.widths[-1] * side * side, joints * 4)
        self.mask_map = sum(trunk.depths[: mask_stage + 1])
        self.mask = nn.Conv2d(trunk.widths[mask_stage], 1, 1)

    def loss(self, maps: Sequence[Tensor], batch: Batch, recipe: SequenceRecipe) -> Tensor:
        """Smooth L1 of joints and of their movement between frames, and cross-entropy of the coverage.

        Unknown values count as zero loss in the mean, so a batch with fewer known values has less effect.
        """
        assert batch.joints_BTJ2 is not None
        assert batch.mask_BTGG is not None
        joints_TBJ2 = batch.joints_BTJ2.transpose(0, 1)
        movement_TBJ2 = torch.diff(joints_TBJ2, dim=0, prepend=joints_TBJ2[:1])
        wanted_NJ4 = torch.cat([joints_TBJ2, 4 * movement_TBJ2], dim=3).flatten(0, 1)
        found_NJ4 = self.joints(maps[-1].flatten(1)).view(wanted_NJ4.shape)
        mask_NGG = batch.mask_BTGG.transpose(0, 1).flatten(0, 1)
        known_NGG, known_NJ4 = mask_NGG.isfinite(), wanted_NJ4.isfinite()
        found_NGG = self.mask(maps[self.mask_map])[:, 0]
        mask_loss_NGG = F.binary_cross_entropy_with_logits(found_NGG, mask_NGG.nan_to_num(), reduction="none")
        joint_loss_NJ4 = F.smooth_l1_loss(found_NJ4, wanted_NJ4.nan_to_num(), beta=0.1, reduction="none")
        mask_loss, joint_loss = (mask_loss_NGG * known_NGG).mean(), (joint_loss_NJ4 * known_NJ4).mean()
        return recipe.joint_weight * joint_loss + recipe.mask_weight * mask_loss


class SingleStreamObjective:
    """Labels on every frame, and the renderer's targets for videos that have them."""

    def __init__(self, config: ModelConfig, videos: Sequence[TrainingVideo], recipe: SequenceRecipe) -> None:
        self.videos, self.recipe = videos, recipe
        targets = next((video.targets for video in videos if video.targets is not None), None)
        self.network = nn.ModuleDict({"stream": SingleStream(config).train()})
        if targets is not None:
            self.network["renderer"] = RendererHead(config, targets.joints_TJ2.shape[1])

    def draw(self, rng: np.random.Generator) -> Batch:
        """A batch of sequences in random views."""
        recipe = self.recipe
        return draw_batch(
            self.videos,
            rng,
            sequences=recipe.sequences,
            steps=recipe.sequence_steps,
            flip_share=recipe.flip_share,
            start_share=recipe.start_share,
        )

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The frame loss, and losses of the auxiliary targets where there are any."""
        stream, streams = self.network["stream"], len(batch.images_BTCSS)
        assert isinstance(stream, SingleStream)
        maps = list(stream.trunk.sequence_maps(time_major(batch.images_BTCSS), streams))
        logits_BTK = stream.logits_of_map(maps[-1], streams)
        label_loss = batch_loss(logits_BTK, batch, self.recipe.labels)
        if "renderer" not in self.network:
            return {"loss": label_loss}
        renderer = self.network["renderer"]
        assert isinstance(renderer, RendererHead)
        renderer_loss = renderer.loss(maps, batch, self.recipe)
        return {"loss": label_loss + renderer_loss, "labels": label_loss, "renderer": renderer_loss}
