"""Sizes and constants that the network in torch and its served form share. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from model.config import ConfigError, ModelConfig, TrunkConfig

NORM_EPSILON = 1e-5
"""The epsilon of every norm of the network: torch's default."""
# Keeps a frame of a single colour, whose deviation is zero, from becoming noise at full contrast.
DEVIATION_FLOOR = 0.1
BLOCK_TAPS = BLOCK_KERNEL = 3


@dataclass(frozen=True)
class BlockShape:
    """A residual block of the trunk."""

    in_channels: int
    out_channels: int
    inner: int
    """Channels of the bottleneck."""
    stride: int
    squeeze_width: int | None
    """Channels between the two layers of squeeze-and-excitation; None in a block without it."""

    @property
    def changes_width(self) -> bool:
        """Whether input and output differ in channels."""
        return self.in_channels != self.out_channels

    @property
    def has_shortcut(self) -> bool:
        """Whether a convolution changes the block's input to the size of its output."""
        return self.changes_width or self.stride != 1


def stage_shapes(config: TrunkConfig) -> list[list[BlockShape]]:
    """The trunk's blocks, by stage."""
    stages: list[list[BlockShape]] = []
    in_channels = config.stem_width
    for width, depth, stride in zip(config.widths, config.depths, config.strides, strict=True):
        inner = int(width * config.expansion)
        stage: list[BlockShape] = []
        for index in range(depth):
            squeeze = squeeze_width(inner, config.squeeze_ratio) if index % 2 == 0 else None
            stage.append(BlockShape(in_channels, width, inner, stride if index == 0 else 1, squeeze))
            in_channels = width
        stages.append(stage)
    return stages


def squeeze_width(channels: int, ratio: float) -> int:
    """Channels between the two layers of squeeze-and-excitation: a multiple of 8, at least 8."""
    width = channels * ratio
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def attention_width(channels: int) -> int:
    """Channels between the layers of a dynamic convolution's attention."""
    return max(channels // 16, 16)


@dataclass(frozen=True)
class DynamicShape:
    """A dynamic convolution of the motion adapter, with the same number of input and output channels."""

    taps: int
    kernel: int
    kernels: int = 1
    depthwise: bool = False

    @property
    def positions(self) -> int:
        """Weights of one kernel for one pair of channels."""
        return self.taps * self.kernel * self.kernel


ADAPT_DEPTHWISE, ADAPT_POINTWISE = DynamicShape(3, 3, depthwise=True), DynamicShape(1, 1)
SPATIAL = DynamicShape(1, 3)


def temporal_shape(motion_kernels: int) -> DynamicShape:
    """The convolution over three frames, which mixes `motion_kernels` kernels."""
    return DynamicShape(3, 1, motion_kernels)


def check_takes_video(config: ModelConfig) -> None:
    """Raise ConfigError for a head that was trained on features of one branch, which is not a complete network."""
    if not all(config.head.feature_widths):
        raise ConfigError(f"{config.name} has a head for one branch of features only, so it cannot take video")
