"""X3D (Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition", CVPR 2020), run in three ways.

`clip` is the published network on a whole clip; `sequence` and `step` are the causal one, equal to each other. The
parameters are the same. Shapes: B streams, T frames, C channels, H and W pixels, N = T * B frames, time-major; S window
steps, D features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.causal import CausalDepthwise, window_mean_sequence, window_mean_step
from model.config import HeadConfig, TrunkConfig

# Keeps a frame of one colour, which deviates by nothing, from becoming noise at full contrast.
DEVIATION_FLOOR = 0.1


def fold_time(x_BCTHW: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B * T, C, H, W): for layers that look at one frame at a time."""
    return x_BCTHW.transpose(1, 2).flatten(0, 1)


def unfold_time(x_NCHW: Tensor, batch: int) -> Tensor:
    return x_NCHW.reshape(batch, -1, *x_NCHW.shape[1:]).transpose(1, 2)


def pointwise(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


def squeeze_width(channels: int, ratio: float) -> int:
    """Channels between the two layers of squeeze-and-excitation: a multiple of 8, at least 8."""
    width = channels * ratio
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


class SqueezeExcite(nn.Module):
    """Scales each channel by a function of the channels' means, over the clip or over the window of last steps."""

    def __init__(self, channels: int, ratio: float, window_steps: int) -> None:
        super().__init__()
        width = squeeze_width(channels, ratio)
        self.window_steps = window_steps
        self.reduce = nn.Linear(channels, width)
        self.expand = nn.Linear(width, channels)

    def scale(self, mean_BC: Tensor) -> Tensor:
        scale_BC: Tensor = torch.sigmoid(self.expand(F.relu(self.reduce(mean_BC))))
        return scale_BC

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        return x_BCTHW * self.scale(x_BCTHW.mean(dim=(2, 3, 4)))[:, :, None, None, None]

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        mean_NC = window_mean_sequence(x_NCHW.mean(dim=(2, 3)), streams, self.window_steps)
        return x_NCHW * self.scale(mean_NC)[:, :, None, None]

    def step(self, x_BCHW: Tensor, window_BSC: Tensor, seen_B: Tensor) -> tuple[Tensor, Tensor]:
        mean_BC, window_BSC = window_mean_step(x_BCHW.mean(dim=(2, 3)), window_BSC, seen_B)
        return x_BCHW * self.scale(mean_BC)[:, :, None, None], window_BSC


@dataclass(frozen=True)
class BlockState:
    sums: tuple[Tensor, ...]
    window_BSC: Tensor
    """Empty (S = 0) in a block without squeeze-and-excitation."""


class Block(nn.Module):
    """Residual bottleneck: expand 1x1, depthwise 3x3x3, squeeze-and-excitation on every other block, project 1x1."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, squeeze: bool, config: TrunkConfig) -> None:
        super().__init__()
        inner = int(out_channels * config.expansion)
        self.inner, self.stride = inner, stride
        self.expand = pointwise(in_channels, inner)
        self.expand_norm: nn.Module = nn.BatchNorm2d(inner)
        self.depthwise = CausalDepthwise(inner, taps=3, kernel=3, stride=stride)
        self.depthwise_norm: nn.Module = nn.BatchNorm2d(inner)
        self.squeeze = SqueezeExcite(inner, config.squeeze_ratio, config.window_steps) if squeeze else None
        self.project = pointwise(inner, out_channels)
        self.project_norm: nn.Module = nn.BatchNorm2d(out_channels)
        changes_width = in_channels != out_channels
        self.shortcut = pointwise(in_channels, out_channels, stride) if changes_width or stride != 1 else None
        self.shortcut_norm: nn.Module | None = nn.BatchNorm2d(out_channels) if changes_width else None

    def before(self, x_NCHW: Tensor) -> Tensor:
        return F.relu(self.expand_norm(self.expand(x_NCHW)), inplace=True)

    def after(self, inner_NCHW: Tensor, x_NCHW: Tensor) -> Tensor:
        y_NCHW = self.project_norm(self.project(F.silu(inner_NCHW, inplace=not self.training)))
        if self.shortcut is not None:
            x_NCHW = self.shortcut(x_NCHW)
        if self.shortcut_norm is not None:
            x_NCHW = self.shortcut_norm(x_NCHW)
        return F.relu(y_NCHW + x_NCHW, inplace=True)

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        batch, x_NCHW = x_BCTHW.shape[0], fold_time(x_BCTHW)
        inner = self.depthwise.clip(unfold_time(self.before(x_NCHW), batch))
        inner = unfold_time(self.depthwise_norm(fold_time(inner)), batch)
        if self.squeeze is not None:
            inner = self.squeeze.clip(inner)
        return unfold_time(self.after(fold_time(inner), x_NCHW), batch)

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        inner = self.depthwise_norm(self.depthwise.sequence(self.before(x_NCHW), streams))
        if self.squeeze is not None:
            inner = self.squeeze.sequence(inner, streams)
        return self.after(inner, x_NCHW)

    def fresh(self, streams: int, height: int, width: int) -> BlockState:
        steps = self.squeeze.window_steps if self.squeeze is not None else 0
        window_BSC = self.depthwise.weight.new_zeros(streams, steps, self.inner)
        return BlockState(self.depthwise.fresh(streams, height, width), window_BSC)

    def step(self, x_BCHW: Tensor, state: BlockState, seen_B: Tensor) -> tuple[Tensor, BlockState]:
        inner, sums = self.depthwise.step(self.before(x_BCHW), state.sums)
        inner, window_BSC = self.depthwise_norm(inner), state.window_BSC
        if self.squeeze is not None:
            inner, window_BSC = self.squeeze.step(inner, window_BSC, seen_B)
        return self.after(inner, x_BCHW), BlockState(sums, window_BSC)


class Stem(nn.Module):
    """Spatial convolution, then a depthwise temporal one."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(
            config.in_channels,
            config.stem_width,
            config.stem_kernel,
            stride=config.stem_stride,
            padding=config.stem_kernel // 2,
            bias=False,
        )
        self.temporal = CausalDepthwise(config.stem_width, taps=config.stem_taps, kernel=1)
        self.norm: nn.Module = nn.BatchNorm2d(config.stem_width)

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        y_BCTHW = self.temporal.clip(unfold_time(self.spatial(fold_time(x_BCTHW)), x_BCTHW.shape[0]))
        return unfold_time(F.relu(self.norm(fold_time(y_BCTHW))), x_BCTHW.shape[0])

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        return F.relu(self.norm(self.temporal.sequence(self.spatial(x_NCHW), streams)), inplace=True)

    def step(self, x_BCHW: Tensor, sums: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BCHW, sums = self.temporal.step(self.spatial(x_BCHW), sums)
        return F.relu(self.norm(y_BCHW), inplace=True), sums


@dataclass(frozen=True)
class TrunkState:
    frame_BCHW: Tensor
    """The frame before, standardised; empty (C = 0) where the trunk takes no difference."""
    stem: tuple[Tensor, ...]
    blocks: tuple[BlockState, ...]


class Trunk(nn.Module):
    """Frames, normalised by `model.preprocess`, to the last feature map."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config)
        self.stages = nn.ModuleList()
        in_channels = config.stem_width
        for width, depth, stride in zip(config.widths, config.depths, config.strides, strict=True):
            stage = nn.ModuleList()
            for index in range(depth):
                stage.append(Block(in_channels, width, stride if index == 0 else 1, index % 2 == 0, config))
                in_channels = width
            self.stages.append(stage)

    def blocks(self) -> Iterator[Block]:
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                assert isinstance(block, Block)
                yield block

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        if self.config.frame_difference:
            x_NCHW = _standardise(x_BCTHW.permute(2, 0, 1, 3, 4).flatten(0, 1))
            with_difference = _append_difference(x_NCHW, x_BCTHW.shape[0])
            x_BCTHW = with_difference.unflatten(0, (-1, x_BCTHW.shape[0])).permute(1, 2, 0, 3, 4)
        x_BCTHW = self.stem.clip(x_BCTHW)
        for block in self.blocks():
            x_BCTHW = block.clip(x_BCTHW)
        return x_BCTHW

    def sequence_maps(self, x_NCHW: Tensor, streams: int) -> Iterator[Tensor]:
        """The causal map after the stem and after each block, in order; the last one is the trunk's output."""
        if self.config.frame_difference:
            x_NCHW = _append_difference(_standardise(x_NCHW), streams)
        x_NCHW = self.stem.sequence(x_NCHW, streams)
        yield x_NCHW
        for block in self.blocks():
            x_NCHW = block.sequence(x_NCHW, streams)
            yield x_NCHW

    def fresh(self, streams: int, size: int) -> tuple[TrunkState, int]:
        """A state that has seen nothing, for frames of `size` pixels, and the side of the last map."""
        side = -(-size // self.config.stem_stride)
        stem = self.stem.temporal.fresh(streams, side, side)
        blocks: list[BlockState] = []
        for block in self.blocks():
            side = -(-side // block.stride)
            blocks.append(block.fresh(streams, side, side))
        return TrunkState(self.fresh_frame(streams, size), stem, tuple(blocks)), side

    def fresh_frame(self, streams: int, size: int) -> Tensor:
        """The `TrunkState.frame_BCHW` of streams that have seen nothing."""
        kept_channels = self.config.input_channels if self.config.frame_difference else 0
        return self.stem.spatial.weight.new_zeros(streams, kept_channels, size, size)

    def with_difference(self, x_BCHW: Tensor, frame_BCHW: Tensor, seen_B: Tensor) -> tuple[Tensor, Tensor]:
        """What the stem sees of a frame, given `TrunkState.frame_BCHW`, and the next one."""
        if not self.config.frame_difference:
            return x_BCHW, frame_BCHW
        x_BCHW = _standardise(x_BCHW)
        moved_B111 = (seen_B > 0)[:, None, None, None].to(x_BCHW.dtype)
        return torch.cat([x_BCHW, (x_BCHW - frame_BCHW) * moved_B111], dim=1), x_BCHW

    def step(self, x_BCHW: Tensor, state: TrunkState, seen_B: Tensor) -> tuple[Tensor, TrunkState]:
        x_BCHW, frame_BCHW = self.with_difference(x_BCHW, state.frame_BCHW, seen_B)
        x_BCHW, stem = self.stem.step(x_BCHW, state.stem)
        blocks: list[BlockState] = []
        for block, block_state in zip(self.blocks(), state.blocks, strict=True):
            x_BCHW, block_state = block.step(x_BCHW, block_state, seen_B)
            blocks.append(block_state)
        return x_BCHW, TrunkState(frame_BCHW, stem, tuple(blocks))


def _standardise(x_NCHW: Tensor) -> Tensor:
    """Each frame by its own mean and deviation: takes light and contrast away."""
    x_NL = x_NCHW.flatten(1)
    centred_NL = x_NL - x_NL.mean(dim=1, keepdim=True)
    # Not `torch.std_mean`, which takes four times as long as all of this.
    deviation_N1 = torch.linalg.vector_norm(centred_NL, dim=1, keepdim=True) / (x_NL.shape[1] - 1) ** 0.5
    standardised_NL: Tensor = centred_NL / (deviation_N1 + DEVIATION_FLOOR)
    return standardised_NL.view(x_NCHW.shape)


def _append_difference(x_NCHW: Tensor, streams: int) -> Tensor:
    """As many channels more: the difference to the stream's frame before, zero at its first."""
    difference = torch.cat([torch.zeros_like(x_NCHW[:streams]), x_NCHW[streams:] - x_NCHW[:-streams]])
    return torch.cat([x_NCHW, difference], dim=1).contiguous(memory_format=torch.channels_last)


class FeatureHead(nn.Module):
    """A map to one feature vector: widen, pool over space and the last `pool_steps` steps, project, ReLU."""

    def __init__(self, in_channels: int, config: HeadConfig) -> None:
        super().__init__()
        self.pool_size, self.pool_steps = config.pool_size, config.pool_steps
        self.with_max = config.pool == "average_max"
        self.widen = pointwise(in_channels, config.projection_width)
        self.norm: nn.Module = nn.BatchNorm2d(config.projection_width)
        self.project = nn.Linear(config.projection_width, config.feature_dim, bias=False)

    def pooled(self, x_NCHW: Tensor) -> Tensor:
        """(N, windows * C): the pooled vector of each window; one window unless the map is larger than `pool_size`."""
        wide_NCHW = F.relu(self.norm(self.widen(x_NCHW)), inplace=True)
        size = min(self.pool_size, wide_NCHW.shape[-1])
        pooled_NCHW = F.avg_pool2d(wide_NCHW, size, stride=1)
        if self.with_max:
            pooled_NCHW = pooled_NCHW + F.max_pool2d(wide_NCHW, size, stride=1)
        return pooled_NCHW.flatten(2).transpose(1, 2).flatten(1)

    def projected(self, pooled_NV: Tensor) -> Tensor:
        windows_NWC = pooled_NV.unflatten(1, (-1, self.project.in_features))
        return F.relu(self.project(windows_NWC)).mean(dim=1)

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        return self.projected(self.pooled(fold_time(x_BCTHW)).unflatten(0, (x_BCTHW.shape[0], -1)).mean(dim=1))

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        return self.projected(window_mean_sequence(self.pooled(x_NCHW), streams, self.pool_steps))

    def fresh(self, streams: int, side: int) -> Tensor:
        windows = max(1, side - self.pool_size + 1) ** 2
        return self.widen.weight.new_zeros(streams, self.pool_steps, windows * self.widen.out_channels)

    def step(self, x_BCHW: Tensor, window_BSV: Tensor, seen_B: Tensor) -> tuple[Tensor, Tensor]:
        mean_BV, window_BSV = window_mean_step(self.pooled(x_BCHW), window_BSV, seen_B)
        return self.projected(mean_BV), window_BSV
