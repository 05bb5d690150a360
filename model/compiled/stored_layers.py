"""Reads the layers of a served graph from stored arrays, folding batch norms into the convolutions before them.

The names and shapes are those of the parameters of `model.network.cake.Cake`. Shapes: O and C output and input
channels, K taps or kernels, k side of a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from model.checkpoints.arrays import Array
from model.checkpoints.stored import CheckpointError, check_fit
from model.compiled.layers import (
    AttentionLayers,
    BlockLayers,
    Convolution,
    Depthwise,
    Dynamic,
    Feature,
    HeadLayers,
    LayerNorm,
    Layers,
    Linear,
    MotionLayers,
    Network,
    Norm,
    SqueezeExciteLayers,
    StemLayers,
    Weights,
)
from model.config import HeadConfig, TrunkConfig
from model.network.geometry import (
    ADAPT_DEPTHWISE,
    ADAPT_POINTWISE,
    BLOCK_KERNEL,
    BLOCK_TAPS,
    NORM_EPSILON,
    SPATIAL,
    BlockShape,
    DynamicShape,
    attention_width,
    check_takes_video,
    stage_shapes,
    temporal_shape,
)

MAX_SUBSTITUTED = 10
"""Numbers in arrays that do not fit, as a multiple of those in the checkpoint."""


def read_layers(network: Network) -> Layers:
    """The layers of a network.

    Raises:
        CheckpointError: an array is missing, unknown or of another shape.
        ConfigError: the configuration is that of a head for one branch of features.
    """
    config, arrays = network.config, network.arrays()
    check_takes_video(config)
    reader, width = _Reader(arrays), config.trunk.widths[-1]
    static_width, motion_width = config.head.feature_widths
    layers = Layers(
        config,
        _stem(reader, config.trunk),
        tuple(
            _block(reader, f"trunk.stages.{stage}.{index}", shape)
            for stage, shapes in enumerate(stage_shapes(config.trunk))
            for index, shape in enumerate(shapes)
        ),
        _feature(reader, "static_head", width, static_width, config.head),
        _motion(reader, width, config.motion_kernels),
        _feature(reader, "motion_head", width, motion_width, config.head),
        _head(reader, config.head, len(config.labels)),
    )
    check_fit({name: array.shape for name, array in arrays.items()}, reader.expected)
    return layers


@dataclass
class _Reader:
    """Takes arrays by name, and notes which are expected. Mismatches are detected after all have been taken."""

    arrays: Mapping[str, Array]
    expected: dict[str, tuple[int, ...]] = field(default_factory=dict)
    substituted: int = 0
    """Numbers in the arrays that stand for those that do not fit."""

    def take(self, name: str, *shape: int) -> Weights:
        self.expected[name] = shape
        found = self.arrays.get(name)
        if found is None or found.shape != shape:
            self._check_substitute(name, shape)
            return np.zeros(shape, np.float32)
        return np.asarray(found, np.float32)

    def _check_substitute(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise CheckpointError before the arrays that do not fit take far more memory than the checkpoint."""
        self.substituted += math.prod(shape)
        if self.substituted > MAX_SUBSTITUTED * sum(array.size for array in self.arrays.values()):
            raise CheckpointError(
                f"the configuration is of a much larger network than the weights: {name} would have shape {shape}"
            )

    def norm(self, name: str, channels: int) -> Norm:
        weight, bias, mean, variance = (
            self.take(f"{name}.{part}", channels) for part in ("weight", "bias", "running_mean", "running_var")
        )
        self.expected[f"{name}.num_batches_tracked"] = ()
        if variance.min() < 0:
            # Its root is NaN, which the served graph turns into a number.
            raise CheckpointError(f"{name} has a negative variance")
        scale_C = weight / np.sqrt(variance + NORM_EPSILON)
        return Norm(scale_C, bias - mean * scale_C)

    def linear(self, name: str, channels: int, out_channels: int, *, bias: bool = True) -> Linear:
        weight = self.take(f"{name}.weight", out_channels, channels)
        return Linear(weight, self.take(f"{name}.bias", out_channels) if bias else None)

    def pointwise(self, name: str, norm: str | None, channels: int, out_channels: int, stride: int = 1) -> Convolution:
        weight_OC11 = self.take(f"{name}.weight", out_channels, channels, 1, 1)
        if norm is None:
            return Convolution(weight_OC11, None, stride)
        folded = self.norm(norm, out_channels)
        return Convolution(_scaled(weight_OC11, folded.scale_C), folded.shift_C, stride)

    def depthwise(self, name: str, norm: str, channels: int, taps: int, kernel: int, stride: int = 1) -> Depthwise:
        weight_C1Kkk = self.take(f"{name}.weight", channels, 1, taps, kernel, kernel)
        folded = self.norm(norm, channels)
        return Depthwise(_scaled(weight_C1Kkk, folded.scale_C), folded.shift_C, stride)


def _scaled(weight: Weights, scale_O: Weights) -> Weights:
    return weight * scale_O.reshape(-1, *[1] * (weight.ndim - 1))


def _stem(reader: _Reader, config: TrunkConfig) -> StemLayers:
    weight = reader.take(
        "trunk.stem.spatial.weight", config.stem_width, config.in_channels, config.stem_kernel, config.stem_kernel
    )
    temporal = reader.depthwise("trunk.stem.temporal", "trunk.stem.norm", config.stem_width, config.stem_taps, 1)
    return StemLayers(Convolution(weight, None, config.stem_stride), temporal)


def _block(reader: _Reader, at: str, shape: BlockShape) -> BlockLayers:
    inner, squeeze, shortcut = shape.inner, None, None
    if shape.squeeze_width is not None:
        squeeze = SqueezeExciteLayers(
            reader.linear(f"{at}.squeeze.reduce", inner, shape.squeeze_width),
            reader.linear(f"{at}.squeeze.expand", shape.squeeze_width, inner),
        )
    if shape.has_shortcut:
        norm = f"{at}.shortcut_norm" if shape.changes_width else None
        shortcut = reader.pointwise(f"{at}.shortcut", norm, shape.in_channels, shape.out_channels, shape.stride)
    return BlockLayers(
        reader.pointwise(f"{at}.expand", f"{at}.expand_norm", shape.in_channels, inner),
        reader.depthwise(f"{at}.depthwise", f"{at}.depthwise_norm", inner, BLOCK_TAPS, BLOCK_KERNEL, shape.stride),
        squeeze,
        reader.pointwise(f"{at}.project", f"{at}.project_norm", inner, shape.out_channels),
        shortcut,
    )


def _motion(reader: _Reader, channels: int, motion_kernels: int) -> MotionLayers:
    def dynamic(name: str, shape: DynamicShape) -> Dynamic:
        at, hidden = f"motion.{name}", attention_width(channels)
        attention = AttentionLayers(
            reader.linear(f"{at}.attention.reduce", channels, hidden, bias=False),
            reader.norm(f"{at}.attention.norm", hidden),
            reader.linear(f"{at}.attention.input_channel", hidden, channels),
            None if shape.depthwise else reader.linear(f"{at}.attention.output_channel", hidden, channels),
            reader.linear(f"{at}.attention.position", hidden, shape.positions) if shape.positions > 1 else None,
            reader.linear(f"{at}.attention.kernel", hidden, shape.kernels) if shape.kernels > 1 else None,
        )
        each = 1 if shape.depthwise else channels
        weight = reader.take(f"{at}.weight", shape.kernels, channels, each, shape.taps, *[shape.kernel] * 2)
        return Dynamic(shape, weight, attention, reader.norm(f"{at}_norm", channels))

    return MotionLayers(
        dynamic("adapt_depthwise", ADAPT_DEPTHWISE),
        dynamic("adapt_pointwise", ADAPT_POINTWISE),
        dynamic("temporal", temporal_shape(motion_kernels)),
        dynamic("spatial", SPATIAL),
    )


def _feature(reader: _Reader, at: str, channels: int, width: int, config: HeadConfig) -> Feature:
    wide = config.projection_width
    return Feature(
        reader.pointwise(f"{at}.widen", f"{at}.norm", channels, wide),
        reader.linear(f"{at}.project", wide, width, bias=False),
    )


def _head(reader: _Reader, config: HeadConfig, labels: int) -> HeadLayers:
    fused, hidden = config.fused_dim, config.hidden_dim

    def gates(of: str, width: int) -> Linear:
        weight = reader.take(f"head.gru.weight_{of}_l0", 3 * hidden, width)
        return Linear(weight, reader.take(f"head.gru.bias_{of}_l0", 3 * hidden))

    return HeadLayers(
        reader.linear("head.fuse", sum(config.feature_widths), fused),
        LayerNorm(reader.take("head.fuse_norm.weight", fused), reader.take("head.fuse_norm.bias", fused)),
        gates("ih", fused),
        gates("hh", hidden),
        reader.linear("head.classify", hidden, labels),
    )
