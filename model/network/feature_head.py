"""The head that turns a map of the trunk into one feature vector, in the three ways of `model.network.x3d`.

Shapes: B streams, T frames, C channels, H and W pixels, N = T * B frames, time-major; S window steps, D features, V
pooled values.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model.config import HeadConfig
from model.network.causal import window_mean_sequence, window_mean_step
from model.network.x3d import fold_time, pointwise_conv


class FeatureHead(nn.Module):
    """Turns a map into one feature vector: widen, pool over space and the last `pool_steps` steps, project, ReLU.

    `width` is the feature's width, by default that of the static feature.
    """

    def __init__(self, in_channels: int, config: HeadConfig, width: int | None = None) -> None:
        super().__init__()
        self.pool_size, self.pool_steps = config.pool_size, config.pool_steps
        self.with_max = config.pool == "average_max"
        self.widen = pointwise_conv(in_channels, config.projection_width)
        self.norm: nn.Module = nn.BatchNorm2d(config.projection_width)
        self.project = nn.Linear(config.projection_width, config.feature_dim if width is None else width, bias=False)

    def pooled(self, x_NCHW: Tensor) -> Tensor:
        """(N, windows * C): the pooled vector of each window; one window unless the map is larger than `pool_size`."""
        wide_NCHW = F.relu(self.norm(self.widen(x_NCHW)), inplace=True)
        size = min(self.pool_size, wide_NCHW.shape[-1])
        pooled_NCHW = F.avg_pool2d(wide_NCHW, size, stride=1)
        if self.with_max:
            pooled_NCHW = pooled_NCHW + F.max_pool2d(wide_NCHW, size, stride=1)
        return pooled_NCHW.flatten(2).transpose(1, 2).flatten(1)

    def projected(self, pooled_NV: Tensor) -> Tensor:
        """The feature (N, D) of pooled vectors: the mean over the windows of their projections."""
        windows_NWC = pooled_NV.unflatten(1, (-1, self.project.in_features))
        return F.relu(self.project(windows_NWC)).mean(dim=1)

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        """The feature (B, D) of maps of whole clips."""
        return self.projected(self.pooled(fold_time(x_BCTHW)).unflatten(0, (x_BCTHW.shape[0], -1)).mean(dim=1))

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        """A feature (T * B, D) for each frame, from the last `pool_steps` frames."""
        return self.projected(window_mean_sequence(self.pooled(x_NCHW), streams, self.pool_steps))

    def fresh(self, streams: int, side: int) -> Tensor:
        """Pooled vectors of streams before their first frame: zeros (B, steps, windows * channels)."""
        windows = max(1, side - self.pool_size + 1) ** 2
        return self.widen.weight.new_zeros(streams, self.pool_steps, windows * self.widen.out_channels)

    def step(self, x_BCHW: Tensor, window_BSV: Tensor, seen_B: Tensor) -> tuple[Tensor, Tensor]:
        """The feature (B, D) after one more frame, and the pooled vectors to keep."""
        mean_BV, window_BSV = window_mean_step(self.pooled(x_BCHW), window_BSV, seen_B)
        return self.projected(mean_BV), window_BSV
