"""The network in the form that the served graph is built from: arrays by layer (see `model.compiled.stored_layers`).

Shapes: O and C output and input
channels, K taps or kernels, k side of a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.checkpoints.arrays import Array
from model.config import ModelConfig
from model.network.geometry import (
    DynamicShape,
)

Weights = NDArray[np.float32]


class Network(Protocol):
    """The source of a served graph: `model.checkpoints.stored.StoredNetwork`, or the network in torch."""

    @property
    def config(self) -> ModelConfig:
        """Sizes, labels and rules."""

    def arrays(self) -> Mapping[str, Array]:
        """The parameters and buffers by name."""


@dataclass(frozen=True)
class Norm:
    """A batch norm in inference: x * scale + shift."""

    scale_C: Weights
    shift_C: Weights


@dataclass(frozen=True)
class LayerNorm:
    """Normalises a vector, then scales and shifts it."""

    weight: Weights
    bias: Weights


@dataclass(frozen=True)
class Linear:
    """A fully connected layer."""

    weight_OC: Weights
    bias_O: Weights | None


@dataclass(frozen=True)
class Convolution:
    """A convolution over space, with its norm folded in."""

    weight_OCkk: Weights
    bias_O: Weights | None
    stride: int = 1


@dataclass(frozen=True)
class Depthwise:
    """A causal depthwise convolution over time and space."""

    weight_C1Kkk: Weights
    bias_C: Weights
    stride: int = 1

    @property
    def taps(self) -> int:
        """Frames that the kernel covers."""
        return int(self.weight_C1Kkk.shape[2])

    @property
    def padding(self) -> int:
        """Pixels of zeros at each edge."""
        return int(self.weight_C1Kkk.shape[-1]) // 2


@dataclass(frozen=True)
class StemLayers:
    """The first layers: space, then time."""

    spatial: Convolution
    temporal: Depthwise


@dataclass(frozen=True)
class SqueezeExciteLayers:
    """The two layers between the means of channels and their factors."""

    reduce: Linear
    expand: Linear


@dataclass(frozen=True)
class BlockLayers:
    """A residual block of the trunk (see `model.network.x3d.Block`)."""

    expand: Convolution
    depthwise: Depthwise
    squeeze: SqueezeExciteLayers | None
    project: Convolution
    shortcut: Convolution | None


@dataclass(frozen=True)
class AttentionLayers:
    """Attention of a dynamic convolution over channels, kernel positions and kernels; None where there is no choice."""

    reduce: Linear
    norm: Norm
    input_channel: Linear
    output_channel: Linear | None
    position: Linear | None
    kernel: Linear | None


@dataclass(frozen=True)
class Dynamic:
    """A dynamic convolution and the norm after it, which cannot be folded because the kernels change with the input."""

    shape: DynamicShape
    weight_KOCkkk: Weights
    attention: AttentionLayers
    norm: Norm


@dataclass(frozen=True)
class MotionLayers:
    """The motion adapter (see `model.network.motion`)."""

    adapt_depthwise: Dynamic
    adapt_pointwise: Dynamic
    temporal: Dynamic
    spatial: Dynamic


@dataclass(frozen=True)
class Feature:
    """Turns a map into a feature vector (see `model.network.feature_head`)."""

    widen: Convolution
    project: Linear


@dataclass(frozen=True)
class HeadLayers:
    """Turns the features of both branches into scores, through the GRU."""

    fuse: Linear
    fuse_norm: LayerNorm
    from_input: Linear
    """The GRU's three gates from its input, and from its hidden state: reset, update, new."""
    from_hidden: Linear
    classify: Linear


@dataclass(frozen=True)
class Layers:
    """The whole network."""

    config: ModelConfig
    stem: StemLayers
    blocks: tuple[BlockLayers, ...]
    static_head: Feature
    motion: MotionLayers
    motion_head: Feature
    head: HeadLayers
