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

from model.config import TrunkConfig
from model.network.causal import CausalDepthwise, window_mean_sequence, window_mean_step
from model.network.geometry import BLOCK_KERNEL, BLOCK_TAPS, DEVIATION_FLOOR, BlockShape, stage_shapes


def fold_time(x_BCTHW: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B * T, C, H, W): for layers that look at one frame at a time."""
    return x_BCTHW.transpose(1, 2).flatten(0, 1)


def unfold_time(x_NCHW: Tensor, batch: int) -> Tensor:
    """Undo `fold_time`: (B * T, C, H, W) -> (B, C, T, H, W)."""
    return x_NCHW.reshape(batch, -1, *x_NCHW.shape[1:]).transpose(1, 2)


def pointwise_conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1 x 1 convolution without bias: a norm follows it."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


class SqueezeExcite(nn.Module):
    """Scales each channel by a function of the channels' means over the clip or over the window of the last steps."""

    def __init__(self, channels: int, width: int, window_steps: int) -> None:
        super().__init__()
        self.window_steps = window_steps
        self.reduce = nn.Linear(channels, width)
        self.expand = nn.Linear(width, channels)

    def scale(self, mean_BC: Tensor) -> Tensor:
        """The factors of the channels, from 0 to 1."""
        scale_BC: Tensor = torch.sigmoid(self.expand(F.relu(self.reduce(mean_BC))))
        return scale_BC

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        """Scale by the means over whole clips."""
        return x_BCTHW * self.scale(x_BCTHW.mean(dim=(2, 3, 4)))[:, :, None, None, None]

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        """Scale each frame by the means over the window of steps that ends with it."""
        mean_NC = window_mean_sequence(x_NCHW.mean(dim=(2, 3)), streams, self.window_steps)
        return x_NCHW * self.scale(mean_NC)[:, :, None, None]

    def step(self, x_BCHW: Tensor, window_BSC: Tensor, seen_B: Tensor) -> tuple[Tensor, Tensor]:
        """The scaled map of one more frame, and the window of means after it."""
        mean_BC, window_BSC = window_mean_step(x_BCHW.mean(dim=(2, 3)), window_BSC, seen_B)
        return x_BCHW * self.scale(mean_BC)[:, :, None, None], window_BSC


@dataclass(frozen=True)
class BlockState:
    """The state of one block for B streams."""

    sums: tuple[Tensor, ...]
    window_BSC: Tensor
    """Empty (S = 0) in a block without squeeze-and-excitation."""


class Block(nn.Module):
    """Residual bottleneck: expand 1x1, depthwise 3x3x3, squeeze-and-excitation on every other block, project 1x1."""

    def __init__(self, shape: BlockShape, window_steps: int) -> None:
        super().__init__()
        in_channels, out_channels, inner, stride = shape.in_channels, shape.out_channels, shape.inner, shape.stride
        self.inner, self.stride = inner, stride
        self.expand = pointwise_conv(in_channels, inner)
        self.expand_norm: nn.Module = nn.BatchNorm2d(inner)
        self.depthwise = CausalDepthwise(inner, BLOCK_TAPS, BLOCK_KERNEL, stride)
        self.depthwise_norm: nn.Module = nn.BatchNorm2d(inner)
        squeeze_width = shape.squeeze_width
        self.squeeze = None if squeeze_width is None else SqueezeExcite(inner, squeeze_width, window_steps)
        self.project = pointwise_conv(inner, out_channels)
        self.project_norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.shortcut = pointwise_conv(in_channels, out_channels, stride) if shape.has_shortcut else None
        self.shortcut_norm: nn.Module | None = nn.BatchNorm2d(out_channels) if shape.changes_width else None

    def before(self, x_NCHW: Tensor) -> Tensor:
        """The input of the depthwise convolution."""
        return F.relu(self.expand_norm(self.expand(x_NCHW)), inplace=True)

    def after(self, inner_NCHW: Tensor, x_NCHW: Tensor) -> Tensor:
        """The block's output, from the scaled inner map and the block's input."""
        y_NCHW = self.project_norm(self.project(F.silu(inner_NCHW, inplace=not self.training)))
        if self.shortcut is not None:
            x_NCHW = self.shortcut(x_NCHW)
        if self.shortcut_norm is not None:
            x_NCHW = self.shortcut_norm(x_NCHW)
        return F.relu(y_NCHW + x_NCHW, inplace=True)

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W), padded at both ends of time."""
        batch, x_NCHW = x_BCTHW.shape[0], fold_time(x_BCTHW)
        inner = self.depthwise.clip(unfold_time(self.before(x_NCHW), batch))
        inner = unfold_time(self.depthwise_norm(fold_time(inner)), batch)
        if self.squeeze is not None:
            inner = self.squeeze.clip(inner)
        return unfold_time(self.after(fold_time(inner), x_NCHW), batch)

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        """(T * B, C, H, W) in time-major order, each frame from those up to it."""
        inner = self.depthwise_norm(self.depthwise.sequence(self.before(x_NCHW), streams))
        if self.squeeze is not None:
            inner = self.squeeze.sequence(inner, streams)
        return self.after(inner, x_NCHW)

    def fresh(self, streams: int, height: int, width: int) -> BlockState:
        """The initial state, for maps of this height and width."""
        steps = self.squeeze.window_steps if self.squeeze is not None else 0
        window_BSC = self.depthwise.weight.new_zeros(streams, steps, self.inner)
        return BlockState(self.depthwise.fresh(streams, height, width), window_BSC)

    def step(self, x_BCHW: Tensor, state: BlockState, seen_B: Tensor) -> tuple[Tensor, BlockState]:
        """The map of one more frame of each stream, and the state after it."""
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
        """Maps (B, C, T, H, W) at full resolution to the stem's map, padded at both ends of time."""
        y_BCTHW = self.temporal.clip(unfold_time(self.spatial(fold_time(x_BCTHW)), x_BCTHW.shape[0]))
        return unfold_time(F.relu(self.norm(fold_time(y_BCTHW))), x_BCTHW.shape[0])

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        """(T * B, C, H, W) in time-major order, each frame from those up to it."""
        return F.relu(self.norm(self.temporal.sequence(self.spatial(x_NCHW), streams)), inplace=True)

    def step(self, x_BCHW: Tensor, sums: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The map of one more frame of each stream, and the partial sums for later frames."""
        y_BCHW, sums = self.temporal.step(self.spatial(x_BCHW), sums)
        return F.relu(self.norm(y_BCHW), inplace=True), sums


@dataclass(frozen=True)
class TrunkState:
    """The state of the trunk for B streams."""

    frame_BCHW: Tensor
    """The previous frame, standardised; empty (C = 0) if the trunk takes no difference."""
    stem: tuple[Tensor, ...]
    blocks: tuple[BlockState, ...]


class Trunk(nn.Module):
    """Turns frames, normalised by `model.video.preprocess`, into the last feature map."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config)
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(shape, config.window_steps) for shape in stage) for stage in stage_shapes(config)
        )

    def blocks(self) -> Iterator[Block]:
        """All blocks, in order."""
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                assert isinstance(block, Block)
                yield block

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        """The last map (B, C, T, H', W') of clips, padded at both ends of time."""
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
        """The initial state, for frames of `size` pixels, and the side of the last map."""
        side = -(-size // self.config.stem_stride)
        stem = self.stem.temporal.fresh(streams, side, side)
        blocks: list[BlockState] = []
        for block in self.blocks():
            side = -(-side // block.stride)
            blocks.append(block.fresh(streams, side, side))
        return TrunkState(self.fresh_frame(streams, size), stem, tuple(blocks)), side

    def fresh_frame(self, streams: int, size: int) -> Tensor:
        """The `TrunkState.frame_BCHW` of streams before their first frame."""
        kept_channels = self.config.input_channels if self.config.frame_difference else 0
        return self.stem.spatial.weight.new_zeros(streams, kept_channels, size, size)

    def with_difference(self, x_BCHW: Tensor, frame_BCHW: Tensor, seen_B: Tensor) -> tuple[Tensor, Tensor]:
        """The stem's input for a frame, given `TrunkState.frame_BCHW`, and the next `frame_BCHW`."""
        if not self.config.frame_difference:
            return x_BCHW, frame_BCHW
        x_BCHW = _standardise(x_BCHW)
        moved_B111 = (seen_B > 0)[:, None, None, None].to(x_BCHW.dtype)
        return torch.cat([x_BCHW, (x_BCHW - frame_BCHW) * moved_B111], dim=1), x_BCHW

    def step(self, x_BCHW: Tensor, state: TrunkState, seen_B: Tensor) -> tuple[Tensor, TrunkState]:
        """The last map (B, C, H', W') of one more frame of each stream, and the state after it."""
        x_BCHW, frame_BCHW = self.with_difference(x_BCHW, state.frame_BCHW, seen_B)
        x_BCHW, stem = self.stem.step(x_BCHW, state.stem)
        blocks: list[BlockState] = []
        for block, block_state in zip(self.blocks(), state.blocks, strict=True):
            x_BCHW, block_state = block.step(x_BCHW, block_state, seen_B)
            blocks.append(block_state)
        return x_BCHW, TrunkState(frame_BCHW, stem, tuple(blocks))


def _standardise(x_NCHW: Tensor) -> Tensor:
    """Standardise each frame by its own mean and deviation, which removes brightness and contrast."""
    x_NL = x_NCHW.flatten(1)
    centred_NL = x_NL - x_NL.mean(dim=1, keepdim=True)
    # Not `torch.std_mean`, which takes four times as long as this whole function.
    deviation_N1 = torch.linalg.vector_norm(centred_NL, dim=1, keepdim=True) / (x_NL.shape[1] - 1) ** 0.5
    standardised_NL: Tensor = centred_NL / (deviation_N1 + DEVIATION_FLOOR)
    return standardised_NL.view(x_NCHW.shape)


def _append_difference(x_NCHW: Tensor, streams: int) -> Tensor:
    """Append the difference from the stream's previous frame as further channels; zero for the first frame."""
    difference = torch.cat([torch.zeros_like(x_NCHW[:streams]), x_NCHW[streams:] - x_NCHW[:-streams]])
    return torch.cat([x_NCHW, difference], dim=1).contiguous(memory_format=torch.channels_last)
