"""One step of the causal network as an OpenVINO graph: what `Cake.step` computes, in the form that runs fastest.

Where `Cake.step` keeps what the past adds to later outputs, this graph keeps the past maps themselves: the taps of a
temporal convolution then become one sum that OpenVINO fuses, and the state moves on by renaming, without a copy. Maps
go in and out with channels last, the order in which the kernels work. The number of streams is fixed: with a free one
OpenVINO prepares less, and takes twice the time.

Shapes: B streams, C channels, H and W pixels, S window steps, P positions of a kernel, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino.opset13 as op
import torch
from openvino import Model, Node, Type
from torch import Tensor

from model.cake import Cake
from model.causal import CausalDepthwise
from model.compiled import ops
from model.head import Head
from model.motion import MotionAdapter
from model.odconv import ODConv3d
from model.preprocess import MEAN, STD
from model.x3d import DEVIATION_FLOOR, Block, FeatureHead, SqueezeExcite, Stem

COMPRESSED_FROM = 500_000
"""Weights of a linear layer, from which on they are kept as int8 where the network computes in bfloat16."""


@dataclass(frozen=True)
class Memory:
    """What a stream remembers of one place of the network: its values of the last `depth` steps."""

    shape: tuple[int, ...]
    """Without the streams: (H, W, C) of a map, (S, C) of a window, (C,) of a vector."""
    is_map: bool
    """A map has the precision of the graph, all else is float32."""
    depth: int


@dataclass(frozen=True)
class StepGraph:
    """Inputs: RGB frames (B, H, W, 3) as uint8, the steps seen before (B, 1), then of each memory its values, oldest
    first. Outputs: scores (B, K), then of each memory the next value.
    """

    model: Model
    memories: tuple[Memory, ...]


@torch.no_grad()
def build_step_graph(folded: Cake, streams: int, map_type: Type) -> StepGraph:
    """The step of a network without norms (see `model.folding`) for so many streams, whose past maps are kept as
    `map_type` (float32 or bfloat16).
    """
    return _Builder(folded, streams, map_type).build()


class _Builder:
    def __init__(self, model: Cake, streams: int, map_type: Type) -> None:
        self._model, self._streams, self._map_type = model, streams, map_type
        self._inputs: list[Node] = []
        self._outputs: list[Node] = []
        self._memories: list[Memory] = []
        size = model.config.image_size
        self._frames_BHWC = self._input((size, size, model.config.trunk.input_channels), Type.u8)
        self._seen_B1 = self._input((1,), Type.f32)

    def build(self) -> StepGraph:
        model = self._model
        x_BCHW = self._stem(model.trunk.stem)
        for block in model.trunk.blocks():
            x_BCHW = self._block(x_BCHW, block)
        static_BD = self._feature(x_BCHW, model.static_head)
        motion_BD = self._feature(self._motion(x_BCHW, model.motion), model.motion_head)
        scores_BK = self._head(op.concat([static_BD, motion_BD], 1), model.head)
        results = [op.result(node) for node in (scores_BK, *self._outputs)]
        return StepGraph(Model(results, self._inputs, "step"), tuple(self._memories))

    def _input(self, shape: Sequence[int], kind: Type) -> Node:
        made = op.parameter([self._streams, *shape], kind)
        self._inputs.append(made)
        return made

    def _remembered(self, shape: tuple[int, ...]) -> Node:
        """What a vector or a window was before this step; whoever asks puts its next value among the outputs."""
        self._memories.append(Memory(shape, is_map=False, depth=1))
        return self._input(shape, Type.f32)

    def _past_maps(self, now_BHWC: Node, steps: int) -> list[Node]:
        """The maps (B, H, W, C) of the last `steps` steps before this one, oldest first."""
        shape = ops.shape_of(now_BHWC)
        self._memories.append(Memory(shape, is_map=True, depth=steps))
        self._outputs.append(op.convert(now_BHWC, self._map_type))
        return [op.convert(self._input(shape, self._map_type), Type.f32) for _ in range(steps)]

    def _pixels(self, block: int) -> list[Node]:
        """What `model.preprocess` and the trunk make of the frames before the stem, each (B, H, W, C) in blocks."""
        pixels_BHWC = op.convert(ops.in_blocks(self._frames_BHWC, block), Type.f32)
        if not self._model.config.trunk.frame_difference:
            centred_BHWC = op.subtract(pixels_BHWC, ops.constant(255.0 * MEAN))
            return [op.multiply(centred_BHWC, ops.constant(1.0 / (255.0 * STD)))]
        standard_BHWC = ops.standardise(pixels_BHWC, floor=255.0 * STD * DEVIATION_FLOOR)
        (before_BHWC,) = self._past_maps(standard_BHWC, 1)
        has_before_B111 = op.unsqueeze(op.minimum(self._seen_B1, ops.constant(1.0)), [2, 3])
        return [standard_BHWC, op.multiply(op.subtract(standard_BHWC, before_BHWC), has_before_B111)]

    def _maps(self, now_BCHW: Node, taps: int) -> list[Node]:
        """The maps (B, C, H, W) of the last `taps` steps, this one included. It is not reordered forth and back."""
        pasts_BHWC = self._past_maps(ops.channels_last(now_BCHW), taps - 1) if taps > 1 else []
        return [*map(ops.channels_first, pasts_BHWC), now_BCHW]

    def _window_mean(self, now_BC: Node, steps: int) -> Node:
        """The mean of the last `steps` vectors, this one included; of fewer in the beginning."""
        if steps == 1:
            return now_BC
        past_BSC = self._remembered((steps - 1, *ops.shape_of(now_BC)))
        window_BSC = op.concat([past_BSC, op.unsqueeze(now_BC, [1])], 1)
        self._outputs.append(op.slice(window_BSC, [1], [steps], [1], [1]))
        count_B1 = op.minimum(op.add(self._seen_B1, ops.constant(1.0)), ops.constant(float(steps)))
        return op.divide(op.reduce_sum(window_BSC, 1), count_B1)

    def _stem(self, stem: Stem) -> Node:
        """With channels last: OpenVINO would reorder every past map for the sum of the products."""
        trunk, size = self._model.config.trunk, self._model.config.image_size
        # A large kernel over few channels leaves most of the processor's width unused.
        block = trunk.stem_stride if trunk.stem_kernel > 3 and size % trunk.stem_stride == 0 else 1
        pixels = [ops.channels_first(one) for one in self._pixels(block)]
        weights = np.split(ops.to_array(stem.spatial.weight), len(pixels), axis=1)
        now_BHWC = ops.channels_last(
            ops.total(
                [
                    ops.convolution_of_blocks(one, weight, trunk.stem_stride, block)
                    for one, weight in zip(pixels, weights, strict=True)
                ]
            )
        )
        weight_KC = ops.to_array(stem.temporal.weight)[:, 0, :, 0, 0].T
        maps_BHWC = [*self._past_maps(now_BHWC, stem.temporal.taps - 1), now_BHWC]
        terms = [op.multiply(one, ops.constant(weight_C)) for one, weight_C in zip(maps_BHWC, weight_KC, strict=True)]
        assert stem.temporal.bias is not None
        terms.append(ops.constant(stem.temporal.bias))
        return ops.channels_first(op.relu(ops.total(terms)))

    def _block(self, x_BCHW: Node, block: Block) -> Node:
        inner_BCHW = self._depthwise(op.relu(ops.convolution(x_BCHW, block.expand)), block.depthwise)
        if block.squeeze is not None:
            inner_BCHW = op.multiply(inner_BCHW, self._squeeze(inner_BCHW, block.squeeze))
        y_BCHW = ops.convolution(op.swish(inner_BCHW), block.project)
        if block.shortcut is not None:
            x_BCHW = ops.convolution(x_BCHW, block.shortcut)
        return op.relu(op.add(y_BCHW, x_BCHW))

    def _depthwise(self, x_BCHW: Node, layer: CausalDepthwise) -> Node:
        weights = ops.to_array(layer.weight).transpose(2, 0, 1, 3, 4)
        maps = self._maps(x_BCHW, layer.taps)
        taps = [ops.depthwise(x, w, layer.stride, layer.padding) for x, w in zip(maps, weights, strict=True)]
        return ops.total([ops.add_bias(taps[-1], layer.bias), *taps[:-1]])

    def _squeeze(self, inner_BCHW: Node, squeeze: SqueezeExcite) -> Node:
        mean_BC = self._window_mean(ops.mean(inner_BCHW), squeeze.window_steps)
        return ops.as_map(op.sigmoid(ops.linear(op.relu(ops.linear(mean_BC, squeeze.reduce)), squeeze.expand)))

    def _motion(self, x_BCHW: Node, motion: MotionAdapter) -> Node:
        def normed(x_BCHW: Node, layer: ODConv3d, norm: torch.nn.BatchNorm2d) -> Node:
            return ops.batch_norm(self._dynamic(x_BCHW, layer), norm)

        y_BCHW = op.relu(normed(x_BCHW, motion.adapt_depthwise, motion.adapt_depthwise_norm))
        y_BCHW = op.relu(normed(y_BCHW, motion.adapt_pointwise, motion.adapt_pointwise_norm))
        y_BCHW = op.swish(normed(y_BCHW, motion.temporal, motion.temporal_norm))
        return op.swish(normed(y_BCHW, motion.spatial, motion.spatial_norm))

    def _dynamic(self, x_BCHW: Node, layer: ODConv3d) -> Node:
        """What the kernel sees of its neighbourhood lies side by side as channels; a pointwise convolution mixes it."""
        attention = layer.attention
        mean_BC = self._window_mean(ops.mean(x_BCHW), layer.window_steps)
        hidden = op.relu(ops.batch_norm(ops.linear(mean_BC, attention.reduce), attention.norm))
        maps_BCHW = self._maps(x_BCHW, layer.taps)
        columns = [column for one in maps_BCHW for column in ops.neighbours(one, layer.kernel_size)]
        scale_BPC = op.unsqueeze(op.sigmoid(ops.linear(hidden, attention.input_channel)), [1])
        if attention.position is not None:
            position_BP = op.sigmoid(ops.linear(hidden, attention.position))
            scale_BPC = op.multiply(scale_BPC, op.unsqueeze(position_BP, [2]))
        mix = _mix_depthwise if layer.depthwise else _mix
        y_BCHW = mix(columns, scale_BPC, layer, hidden)
        if attention.output_channel is not None:
            y_BCHW = op.multiply(y_BCHW, ops.as_map(op.sigmoid(ops.linear(hidden, attention.output_channel))))
        return y_BCHW

    def _feature(self, x_BCHW: Node, head: FeatureHead) -> Node:
        wide_BCHW = op.relu(ops.convolution(x_BCHW, head.widen))
        size = min(head.pool_size, ops.shape_of(wide_BCHW)[-1])
        pooled_BCHW = ops.average_pool(wide_BCHW, size)
        if head.with_max:
            pooled_BCHW = op.add(pooled_BCHW, ops.max_pool(wide_BCHW, size))
        channels, height, width = ops.shape_of(pooled_BCHW)
        pooled_BV = op.reshape(ops.channels_last(pooled_BCHW), [self._streams, height * width * channels], False)
        mean_BV = self._window_mean(pooled_BV, head.pool_steps)
        windows_BWC = op.reshape(mean_BV, [self._streams, height * width, channels], False)
        return op.reduce_mean(op.relu(self._affine(windows_BWC, head.project.weight, head.project.bias)), 1)

    def _affine(self, x: Node, weight: Tensor, bias: Tensor | None) -> Node:
        """One that is large takes as long as its weights take to be read: beside bfloat16, int8 is as good for them."""
        is_compressed = self._map_type == Type.bf16 and weight.numel() >= COMPRESSED_FROM
        return ops.affine(x, ops.compressed(weight) if is_compressed else ops.constant(weight), bias)

    def _head(self, features_BF: Node, head: Head) -> Node:
        fused_BE = op.relu(ops.layer_norm(self._affine(features_BF, head.fuse.weight, head.fuse.bias), head.fuse_norm))
        before_BH = self._remembered((head.config.hidden_dim,))
        weight_ih, weight_hh, bias_ih, bias_hh = head.gru.parameters()
        from_input = op.split(self._affine(fused_BE, weight_ih, bias_ih), 1, 3)
        from_past = op.split(self._affine(before_BH, weight_hh, bias_hh), 1, 3)
        reset, update = (op.sigmoid(op.add(from_input.output(i), from_past.output(i))) for i in (0, 1))
        new_BH = op.tanh(op.add(from_input.output(2), op.multiply(reset, from_past.output(2))))
        hidden_BH = op.add(new_BH, op.multiply(update, op.subtract(before_BH, new_BH)))
        self._outputs.append(hidden_BH)
        out_BH = op.add(hidden_BH, fused_BE) if head.config.residual else hidden_BH
        logits_BK = ops.linear(op.relu(out_BH), head.classify)
        return op.softmax(logits_BK, 1) if head.config.activation == "softmax" else op.sigmoid(logits_BK)


def _mix(columns_BCHW: list[Node], scale_BPC: Node, layer: ODConv3d, hidden: Node) -> Node:
    weight_KOCP = ops.to_array(layer.weight).reshape(*layer.weight.shape[:3], -1)
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


def _mix_depthwise(columns_BCHW: list[Node], scale_BPC: Node, layer: ODConv3d, hidden: Node) -> Node:
    weight_PC = ops.to_array(layer.weight)[0, :, 0].reshape(layer.in_channels, -1).T
    weight_BPC = op.split(op.multiply(scale_BPC, ops.constant(weight_PC[None])), 1, len(columns_BCHW))
    scales = [ops.as_map(op.squeeze(weight_BPC.output(p), [1])) for p in range(len(columns_BCHW))]
    return ops.total([op.multiply(x, scale) for x, scale in zip(columns_BCHW, scales, strict=True)])
