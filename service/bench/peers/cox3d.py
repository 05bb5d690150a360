"""CoX3D, the continual X3D of Hedegaard and Iosifidis (ECCV 2022), from the layers of `continual-inference`.

The package contains layers but no networks, so the network is assembled here as by its authors: an X3D whose
convolutions over time keep partial sums, with squeeze-and-excitation per frame. It has neither CAKE's motion branch nor
its GRU, so each step is less work.

Shapes: B streams, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from model.config import ModelConfig
from model.network.geometry import BLOCK_KERNEL, BLOCK_TAPS, BlockShape, stage_shapes


def cox3d_stepper(config: ModelConfig, batch: int) -> Callable[[], object]:
    """A step of one frame of `batch` streams, after the network has seen enough frames to produce scores.

    Raises ModuleNotFoundError without `continual-inference`.
    """
    network = make_cox3d(config)
    frames_BCHW = torch.randn(batch, config.trunk.in_channels, config.image_size, config.image_size)

    @torch.inference_mode()
    def step() -> object:
        return network.forward_step(frames_BCHW)

    while not isinstance(step(), torch.Tensor):
        pass
    return step


def make_cox3d(config: ModelConfig) -> Any:  # an untyped package's network
    """An X3D with the configuration's trunk and static head and random weights; it maps frames to a score for each
    label.
    """
    import continual as co

    trunk, head = config.trunk, config.head
    width, taps = trunk.stem_width, trunk.stem_taps
    stride, pad = trunk.stem_stride, trunk.stem_kernel // 2
    spatial = (1, trunk.stem_kernel, trunk.stem_kernel)
    blocks = [_block(co, shape) for stage in stage_shapes(trunk) for shape in stage]
    network = co.Sequential(
        co.Conv3d(trunk.in_channels, width, spatial, (1, stride, stride), (0, pad, pad), bias=False),
        co.Conv3d(width, width, (taps, 1, 1), padding=(taps // 2, 0, 0), groups=width, bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
        *blocks,
        co.Conv3d(trunk.widths[-1], head.projection_width, 1, bias=False),
        nn.BatchNorm3d(head.projection_width),
        nn.ReLU(inplace=True),
        co.AdaptiveAvgPool3d((1, 1, 1), kernel_size=trunk.window_steps),
        co.Conv3d(head.projection_width, head.feature_dim, 1, bias=False),
        nn.ReLU(inplace=True),
        co.Linear(head.feature_dim, len(config.labels), channel_dim=1),
        nn.Sigmoid(),
    )
    return network.eval()


def _block(co: Any, shape: BlockShape) -> Any:
    inner, stride, pad = shape.inner, shape.stride, BLOCK_KERNEL // 2
    kernel = (BLOCK_TAPS, BLOCK_KERNEL, BLOCK_KERNEL)
    padding = (BLOCK_TAPS // 2, pad, pad)
    squeeze = [] if shape.squeeze_width is None else [_squeeze(co, inner, shape.squeeze_width)]
    main = co.Sequential(
        co.Conv3d(shape.in_channels, inner, 1, bias=False),
        nn.BatchNorm3d(inner),
        nn.ReLU(inplace=True),
        co.Conv3d(inner, inner, kernel, (1, stride, stride), padding, groups=inner, bias=False),
        nn.BatchNorm3d(inner),
        *squeeze,
        nn.SiLU(inplace=True),
        co.Conv3d(inner, shape.out_channels, 1, bias=False),
        nn.BatchNorm3d(shape.out_channels),
    )
    if not shape.has_shortcut:
        return co.Sequential(co.Residual(main, temporal_fill="zeros"), nn.ReLU(inplace=True))
    norm = [nn.BatchNorm3d(shape.out_channels)] if shape.changes_width else []
    shortcut = co.Sequential(
        co.Conv3d(shape.in_channels, shape.out_channels, 1, (1, stride, stride), bias=False), *norm
    )
    return co.Sequential(co.BroadcastReduce(shortcut, main, reduce="sum"), nn.ReLU(inplace=True))


def _squeeze(co: Any, inner: int, width: int) -> Any:
    return co.Residual(
        co.Sequential(
            co.AdaptiveAvgPool3d((1, 1, 1), kernel_size=1),
            co.Conv3d(inner, width, 1),
            nn.ReLU(),
            co.Conv3d(width, inner, 1),
            nn.Sigmoid(),
        ),
        reduce="mul",
    )
