"""One step of the causal network as an OpenVINO graph: the computation of `Cake.step` in its fastest form.

While `Cake.step` keeps what the past adds to later outputs, this graph keeps the past maps themselves: the taps of a
temporal convolution then become one sum that OpenVINO fuses, and the state advances by renaming, without a copy. Maps
go in and out with channels last, the order in which the kernels work. The number of streams is fixed: with a variable
number, OpenVINO prepares less and takes twice the time.

Shapes: B streams, C channels, H and W pixels, S window steps, P positions of a kernel, K labels,
F features, E of them fused, and G = E + 3 * H input values of the GRU: those, and what its gates make of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino.opset13 as op
from openvino import Model, Node, Type

from model.compiled import ops
from model.compiled.layers import (
    BlockLayers,
    Depthwise,
    Dynamic,
    Feature,
    HeadLayers,
    Layers,
    Linear,
    MotionLayers,
    SqueezeExciteLayers,
    StemLayers,
)
from model.compiled.precision import int8_constant, uses_int8
from model.config import HeadConfig
from model.network.geometry import DEVIATION_FLOOR
from model.video.preprocess import MEAN, STD


@dataclass(frozen=True)
class Memory:
    """A stream's state at one place in the network: the values of the last `depth` steps."""

    shape: tuple[int, ...]
    """Without the streams: (H, W, C) of a map, (S, C) of a window, (C,) of a vector."""
    is_map: bool
    """Maps have the precision of the graph; everything else is float32."""
    depth: int


@dataclass(frozen=True)
class StepGraph:
    """Inputs: RGB frames (B, H, W, 3) as uint8, the number of earlier steps (B, 1), then the values of each memory,
    oldest first. Outputs: scores (B, K), then the next value of each memory, then the GRU's input (B, G).
    """

    model: Model
    memories: tuple[Memory, ...]
    """The last one is the head's hidden state."""


def build_step_graph(layers: Layers, streams: int, map_type: Type) -> StepGraph:
    """Build the served graph: one step of `streams` streams in one call.

    Past maps are kept as `map_type`, float32 or bfloat16.
    """
    return _Builder(layers, streams, map_type).build()


def build_head_graph(layers: Layers, map_type: Type) -> Model:
    """Build the end of that graph, for any number of streams.

    Inputs: the GRU's input (B, G), the hidden state (B, H). Outputs: scores (B, K), the next hidden state.
    """
    return _Builder(layers, -1, map_type).build_head()


class _Builder:
    def __init__(self, layers: Layers, streams: int, map_type: Type) -> None:
        self._layers, self._config = layers, layers.config
        self._streams, self._map_type = streams, map_type
        self._inputs: list[Node] = []
        self._outputs: list[Node] = []
        self._memories: list[Memory] = []
        self._frames_BHWC: Node
        self._seen_B1: Node

    def build(self) -> StepGraph:
        layers, size = self._layers, self._config.image_size
        self._frames_BHWC = self._input((size, size, self._config.trunk.input_channels), Type.u8)
        self._seen_B1 = self._input((1,), Type.f32)
        x_BCHW = self._stem(layers.stem)
        for block in layers.blocks:
            x_BCHW = self._block(x_BCHW, block)
        static_BD = self._feature(x_BCHW, layers.static_head)
        motion_BD = self._feature(self._motion(x_BCHW, layers.motion), layers.motion_head)
        given_BG = self._given(op.concat([static_BD, motion_BD], 1), layers.head)
        scores_BK = self._head(given_BG, layers.head)
        results = [op.result(node) for node in (scores_BK, *self._outputs, given_BG)]
        return StepGraph(Model(results, self._inputs, "step"), tuple(self._memories))

    def build_head(self) -> Model:
        scores_BK = self._head(self._input((given_width(self._config.head),), Type.f32), self._layers.head)
        return Model([op.result(node) for node in (scores_BK, *self._outputs)], self._inputs, "head")

    def _input(self, shape: Sequence[int], kind: Type) -> Node:
        made = op.parameter([self._streams, *shape], kind)
        self._inputs.append(made)
        return made

    def _remembered(self, shape: tuple[int, ...]) -> Node:
        """A vector or window from before this step. The layer that reads it makes its next value an output."""
        self._memories.append(Memory(shape, is_map=False, depth=1))
        return self._input(shape, Type.f32)

    def _past_maps(self, now_BHWC: Node, steps: int) -> list[Node]:
        """The maps (B, H, W, C) of the last `steps` steps before this one, oldest first."""
        shape = ops.shape_of(now_BHWC)
        self._memories.append(Memory(shape, is_map=True, depth=steps))
        self._outputs.append(op.convert(now_BHWC, self._map_type))
        return [op.convert(self._input(shape, self._map_type), Type.f32) for _ in range(steps)]

    def _pixels(self, block: int) -> list[Node]:
        """The frames as `model.video.preprocess` and the trunk prepare them for the stem: (B, H, W, C) in blocks."""
        pixels_BHWC = op.convert(ops.in_blocks(self._frames_BHWC, block), Type.f32)
        if not self._config.trunk.frame_difference:
            centred_BHWC = op.subtract(pixels_BHWC, ops.constant(255.0 * MEAN))
            return [op.multiply(centred_BHWC, ops.constant(1.0 / (255.0 * STD)))]
        standard_BHWC = ops.standardise(pixels_BHWC, floor=255.0 * STD * DEVIATION_FLOOR)
        (before_BHWC,) = self._past_maps(standard_BHWC, 1)
        has_before_B111 = op.unsqueeze(op.minimum(self._seen_B1, ops.constant(1.0)), [2, 3])
        return [standard_BHWC, op.multiply(op.subtract(standard_BHWC, before_BHWC), has_before_B111)]

    def _maps(self, now_BCHW: Node, taps: int) -> list[Node]:
        """The maps (B, C, H, W) of the last `taps` steps, this one included. It is not reordered back and forth."""
        pasts_BHWC = self._past_maps(ops.channels_last(now_BCHW), taps - 1) if taps > 1 else []
        return [*map(ops.channels_first, pasts_BHWC), now_BCHW]

    def _window_mean(self, now_BC: Node, steps: int) -> Node:
        """The mean of the last `steps` vectors, this one included; of fewer at the beginning of a stream."""
        if steps == 1:
            return now_BC
        past_BSC = self._remembered((steps - 1, *ops.shape_of(now_BC)))
        window_BSC = op.concat([past_BSC, op.unsqueeze(now_BC, [1])], 1)
        self._outputs.append(op.slice(window_BSC, [1], [steps], [1], [1]))
        count_B1 = op.minimum(op.add(self._seen_B1, ops.constant(1.0)), ops.constant(float(steps)))
        return op.divide(op.reduce_sum(window_BSC, 1), count_B1)

    def _stem(self, stem: StemLayers) -> Node:
        """With channels last, since OpenVINO would otherwise reorder every past map for the sum of the products."""
        trunk, size = self._config.trunk, self._config.image_size
        # A large kernel over few channels leaves most of the processor's vector width unused.
        block = trunk.stem_stride if trunk.stem_kernel > 3 and size % trunk.stem_stride == 0 else 1
        pixels = [ops.channels_first(one) for one in self._pixels(block)]
        weights = np.split(stem.spatial.weight_OCkk, len(pixels), axis=1)
        now_BHWC = ops.channels_last(
            ops.total(
                [
                    ops.convolution_of_blocks(one, weight, trunk.stem_stride, block)
                    for one, weight in zip(pixels, weights, strict=True)
                ]
            )
        )
        weight_KC = stem.temporal.weight_C1Kkk[:, 0, :, 0, 0].T
        maps_BHWC = [*self._past_maps(now_BHWC, stem.temporal.taps - 1), now_BHWC]
        terms = [op.multiply(one, ops.constant(weight_C)) for one, weight_C in zip(maps_BHWC, weight_KC, strict=True)]
        terms.append(ops.constant(stem.temporal.bias_C))
        return ops.channels_first(op.relu(ops.total(terms)))

    def _block(self, x_BCHW: Node, block: BlockLayers) -> Node:
        inner_BCHW = self._depthwise(op.relu(ops.pointwise_layer(x_BCHW, block.expand)), block.depthwise)
        if block.squeeze is not None:
            inner_BCHW = op.multiply(inner_BCHW, self._squeeze(inner_BCHW, block.squeeze))
        y_BCHW = ops.pointwise_layer(op.swish(inner_BCHW), block.project)
        if block.shortcut is not None:
            x_BCHW = ops.pointwise_layer(x_BCHW, block.shortcut)
        return op.relu(op.add(y_BCHW, x_BCHW))

    def _depthwise(self, x_BCHW: Node, layer: Depthwise) -> Node:
        weights = layer.weight_C1Kkk.transpose(2, 0, 1, 3, 4)
        maps = self._maps(x_BCHW, layer.taps)
        taps = [ops.depthwise(x, w, layer.stride, layer.padding) for x, w in zip(maps, weights, strict=True)]
        return ops.total([ops.add_bias(taps[-1], layer.bias_C), *taps[:-1]])

    def _squeeze(self, inner_BCHW: Node, squeeze: SqueezeExciteLayers) -> Node:
        mean_BC = self._window_mean(ops.mean(inner_BCHW), self._config.trunk.window_steps)
        return ops.as_map(op.sigmoid(ops.linear(op.relu(ops.linear(mean_BC, squeeze.reduce)), squeeze.expand)))

    def _motion(self, x_BCHW: Node, motion: MotionLayers) -> Node:
        y_BCHW = op.relu(self._dynamic(x_BCHW, motion.adapt_depthwise))
        y_BCHW = op.relu(self._dynamic(y_BCHW, motion.adapt_pointwise))
        y_BCHW = op.swish(self._dynamic(y_BCHW, motion.temporal))
        return op.swish(self._dynamic(y_BCHW, motion.spatial))

    def _dynamic(self, x_BCHW: Node, layer: Dynamic) -> Node:
        """The kernel's neighbourhood of each pixel is laid side by side as channels; a pointwise convolution mixes
        it.
        """
        attention, shape = layer.attention, layer.shape
        mean_BC = self._window_mean(ops.mean(x_BCHW), self._config.trunk.window_steps)
        hidden = op.relu(ops.batch_norm(ops.linear(mean_BC, attention.reduce), attention.norm))
        maps_BCHW = self._maps(x_BCHW, shape.taps)
        columns = [column for one in maps_BCHW for column in ops.neighbours(one, shape.kernel)]
        scale_BPC = op.unsqueeze(op.sigmoid(ops.linear(hidden, attention.input_channel)), [1])
        if attention.position is not None:
            position_BP = op.sigmoid(ops.linear(hidden, attention.position))
            scale_BPC = op.multiply(scale_BPC, op.unsqueeze(position_BP, [2]))
        mix = _mix_depthwise if shape.depthwise else _mix
        y_BCHW = mix(columns, scale_BPC, layer, hidden)
        if attention.output_channel is not None:
            y_BCHW = op.multiply(y_BCHW, ops.as_map(op.sigmoid(ops.linear(hidden, attention.output_channel))))
        return ops.batch_norm(y_BCHW, layer.norm)

    def _feature(self, x_BCHW: Node, head: Feature) -> Node:
        config = self._config.head
        wide_BCHW = op.relu(ops.pointwise_layer(x_BCHW, head.widen))
        size = min(config.pool_size, ops.shape_of(wide_BCHW)[-1])
        pooled_BCHW = ops.average_pool(wide_BCHW, size)
        if config.pool == "average_max":
            pooled_BCHW = op.add(pooled_BCHW, ops.max_pool(wide_BCHW, size))
        channels, height, width = ops.shape_of(pooled_BCHW)
        pooled_BV = op.reshape(ops.channels_last(pooled_BCHW), [self._streams, height * width * channels], False)
        mean_BV = self._window_mean(pooled_BV, config.pool_steps)
        windows_BWC = op.reshape(mean_BV, [self._streams, height * width, channels], False)
        return op.reduce_mean(op.relu(self._affine(windows_BWC, head.project)), 1)

    def _affine(self, x: Node, layer: Linear) -> Node:
        weight = layer.weight_OC
        kept = int8_constant(weight) if uses_int8(weight, self._map_type) else ops.constant(weight)
        return ops.affine(x, kept, layer.bias_O)

    def _given(self, features_BF: Node, head: HeadLayers) -> Node:
        fused_BE = op.relu(ops.layer_norm(self._affine(features_BF, head.fuse), head.fuse_norm))
        return op.concat([fused_BE, self._affine(fused_BE, head.from_input)], 1)

    def _head(self, given_BG: Node, head: HeadLayers) -> Node:
        before_BH = self._remembered((self._config.head.hidden_dim,))
        fused_BE, *from_input = op.variadic_split(given_BG, 1, _given_widths(self._config.head)).outputs()
        from_past = op.split(self._affine(before_BH, head.from_hidden), 1, 3)
        reset, update = (op.sigmoid(op.add(from_input[i], from_past.output(i))) for i in (0, 1))
        new_BH = op.tanh(op.add(from_input[2], op.multiply(reset, from_past.output(2))))
        hidden_BH = op.add(new_BH, op.multiply(update, op.subtract(before_BH, new_BH)))
        self._outputs.append(hidden_BH)
        out_BH = op.add(hidden_BH, fused_BE) if self._config.head.residual else hidden_BH
        logits_BK = ops.linear(op.relu(out_BH), head.classify)
        return op.softmax(logits_BK, 1) if self._config.head.activation == "softmax" else op.sigmoid(logits_BK)


def _given_widths(head: HeadConfig) -> list[int]:
    return [head.fused_dim, *[head.hidden_dim] * 3]


def given_width(head: HeadConfig) -> int:
    """The number of input values of the GRU: G."""
    return sum(_given_widths(head))


def _mix(columns_BCHW: list[Node], scale_BPC: Node, layer: Dynamic, hidden: Node) -> Node:
    weight_KOCP = layer.weight_KOCkkk.reshape(*layer.weight_KOCkkk.shape[:3], -1)
    kernels, out_channels = weight_KOCP.shape[:2]
    weight = weight_KOCP.transpose(0, 1, 3, 2).reshape(kernels * out_channels, -1)
    scale = ops.as_map(op.reshape(scale_BPC, [0, weight.shape[1]], True))
    wide = op.concat(columns_BCHW, 1) if len(columns_BCHW) > 1 else columns_BCHW[0]
    y = ops.pointwise(op.multiply(wide, scale), weight)
    if layer.attention.kernel is None:
        return y
    each = op.split(y, 1, kernels)
    share_BK = op.split(op.softmax(ops.linear(hidden, layer.attention.kernel), 1), 1, kernels)
    return ops.total([op.multiply(each.output(k), ops.as_map(share_BK.output(k))) for k in range(kernels)])


def _mix_depthwise(columns_BCHW: list[Node], scale_BPC: Node, layer: Dynamic, hidden: Node) -> Node:
    weight_PC = layer.weight_KOCkkk[0, :, 0].reshape(len(layer.weight_KOCkkk[0]), -1).T
    weight_BPC = op.split(op.multiply(scale_BPC, ops.constant(weight_PC[None])), 1, len(columns_BCHW))
    scales = [ops.as_map(op.squeeze(weight_BPC.output(p), [1])) for p in range(len(columns_BCHW))]
    return ops.total([op.multiply(x, scale) for x, scale in zip(columns_BCHW, scales, strict=True)])
