"""The Dynamic Motion Adapter of CAKE (arXiv 2603.23988): a motion branch that learns from an optical-flow teacher.

It turns the RGB trunk's last map into the map that the same trunk would have made from optical flow. Shapes as in
`model.network.odconv`; all maps are C x side x side, C the trunk's last width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from model.network.geometry import ADAPT_DEPTHWISE, ADAPT_POINTWISE, SPATIAL, DynamicShape, temporal_shape
from model.network.odconv import ODConv3d, ODConvState
from model.network.x3d import fold_time, unfold_time


@dataclass(frozen=True)
class MotionState:
    """The states of the adapter's dynamic convolutions for B streams."""

    adapt_depthwise: ODConvState
    adapt_pointwise: ODConvState
    temporal: ODConvState
    spatial: ODConvState


class MotionAdapter(nn.Module):
    """Depthwise and pointwise dynamic convolutions adapt the map; a temporal and a spatial one find its motion."""

    def __init__(self, channels: int, motion_kernels: int, window_steps: int) -> None:
        super().__init__()

        def dynamic(shape: DynamicShape) -> ODConv3d:
            return ODConv3d(channels, channels, shape, window_steps)

        self.adapt_depthwise = dynamic(ADAPT_DEPTHWISE)
        self.adapt_depthwise_norm = nn.BatchNorm2d(channels)
        self.adapt_pointwise = dynamic(ADAPT_POINTWISE)
        self.adapt_pointwise_norm = nn.BatchNorm2d(channels)
        self.temporal = dynamic(temporal_shape(motion_kernels))
        self.temporal_norm = nn.BatchNorm2d(channels)
        self.spatial = dynamic(SPATIAL)
        self.spatial_norm = nn.BatchNorm2d(channels)

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        """The motion map of the trunk's last map of whole clips, both (B, C, T, H, W)."""

        def normed(norm: nn.Module, y_BCTHW: Tensor) -> Tensor:
            return unfold_time(norm(fold_time(y_BCTHW)), x_BCTHW.shape[0])

        y_BCTHW = F.relu(normed(self.adapt_depthwise_norm, self.adapt_depthwise.clip(x_BCTHW)))
        y_BCTHW = F.relu(normed(self.adapt_pointwise_norm, self.adapt_pointwise.clip(y_BCTHW)))
        y_BCTHW = F.silu(normed(self.temporal_norm, self.temporal.clip(y_BCTHW)))
        return F.silu(normed(self.spatial_norm, self.spatial.clip(y_BCTHW)))

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        """The causal motion map of whole sequences, (T * B, C, H, W) in time-major order."""
        y_NCHW = F.relu(self.adapt_depthwise_norm(self.adapt_depthwise.sequence(x_NCHW, streams)))
        y_NCHW = F.relu(self.adapt_pointwise_norm(self.adapt_pointwise.sequence(y_NCHW, streams)))
        y_NCHW = F.silu(self.temporal_norm(self.temporal.sequence(y_NCHW, streams)))
        return F.silu(self.spatial_norm(self.spatial.sequence(y_NCHW, streams)))

    def fresh(self, streams: int, side: int) -> MotionState:
        """The initial state, for maps of `side` pixels."""
        layers = (self.adapt_depthwise, self.adapt_pointwise, self.temporal, self.spatial)
        return MotionState(*(layer.fresh(streams, side) for layer in layers))

    def step(self, x_BCHW: Tensor, state: MotionState, seen_B: Tensor) -> tuple[Tensor, MotionState]:
        """The motion map (B, C, H, W) of one more frame of each stream, and the state after it."""
        y_BCHW, depthwise = self.adapt_depthwise.step(x_BCHW, state.adapt_depthwise, seen_B)
        y_BCHW = F.relu(self.adapt_depthwise_norm(y_BCHW))
        y_BCHW, pointwise = self.adapt_pointwise.step(y_BCHW, state.adapt_pointwise, seen_B)
        y_BCHW = F.relu(self.adapt_pointwise_norm(y_BCHW))
        y_BCHW, temporal = self.temporal.step(y_BCHW, state.temporal, seen_B)
        y_BCHW = F.silu(self.temporal_norm(y_BCHW))
        y_BCHW, spatial = self.spatial.step(y_BCHW, state.spatial, seen_B)
        return F.silu(self.spatial_norm(y_BCHW)), MotionState(depthwise, pointwise, temporal, spatial)
