"""Layers of the network as OpenVINO nodes. Shapes: B streams, C channels, H and W pixels; a map is (B, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import openvino.opset13 as op
from openvino import Node

from model.compiled.layers import Convolution, LayerNorm, Linear, Norm, Weights
from model.network.geometry import NORM_EPSILON


def shape_of(node: Node) -> tuple[int, ...]:
    """The shape without the streams."""
    return tuple(node.output(0).get_shape())[1:]


def constant(value: float | Weights) -> Node:
    """A float32 constant."""
    return op.constant(np.asarray(value, np.float32))


def channels_last(x_BCHW: Node) -> Node:
    """(B, H, W, C)."""
    return op.transpose(x_BCHW, [0, 2, 3, 1])


def channels_first(x_BHWC: Node) -> Node:
    """(B, C, H, W)."""
    return op.transpose(x_BHWC, [0, 3, 1, 2])


def as_map(x_BC: Node) -> Node:
    """(B, C) -> (B, C, 1, 1)."""
    return op.unsqueeze(x_BC, [2, 3])


def linear(x: Node, layer: Linear) -> Node:
    """A linear layer on the last axis."""
    return affine(x, constant(layer.weight_OC), layer.bias_O)


def affine(x: Node, weight_OC: Node, bias_O: Weights | None) -> Node:
    """Multiply the last axis by a matrix, and add a bias if there is one."""
    y = op.matmul(x, weight_OC, False, True)
    return y if bias_O is None else op.add(y, constant(bias_O))


def add_bias(x_BCHW: Node, bias_C: Weights | None) -> Node:
    """Add one value per channel, if there are any."""
    return x_BCHW if bias_C is None else op.add(x_BCHW, constant(bias_C[None, :, None, None]))


def pointwise_layer(x_BCHW: Node, layer: Convolution) -> Node:
    """A convolution without padding, with its stride and bias."""
    weight = constant(layer.weight_OCkk)
    y_BCHW = op.convolution(x_BCHW, weight, [layer.stride] * 2, [0, 0], [0, 0], [1, 1])
    return add_bias(y_BCHW, layer.bias_O)


def in_blocks(x_BHWC: Node, side: int) -> Node:
    """(B, H / side, W / side, side * side * C): the pixels of each block side by side as channels."""
    height, width, channels = shape_of(x_BHWC)
    rows, columns = height // side, width // side
    blocks = op.transpose(op.reshape(x_BHWC, [0, rows, side, columns, side * channels], True), [0, 1, 3, 2, 4])
    return op.reshape(blocks, [0, rows, columns, side * side * channels], True)


def convolution_of_blocks(x_BCHW: Node, weight_OCkk: Weights, stride: int, side: int) -> Node:
    """The result of a convolution of an image, padded by half the kernel, computed from the image `in_blocks`."""
    out_channels, in_channels, kernel, _ = weight_OCkk.shape
    before, after = -(-(kernel // 2) // side), kernel // 2 // side
    taps, first = before + 1 + after, before * side - kernel // 2
    wide = np.zeros((out_channels, in_channels, taps * side, taps * side), np.float32)
    wide[:, :, first : first + kernel, first : first + kernel] = weight_OCkk
    parts = wide.reshape(out_channels, in_channels, taps, side, taps, side).transpose(0, 3, 5, 1, 2, 4)
    weight = constant(np.ascontiguousarray(parts).reshape(out_channels, -1, taps, taps))
    return op.convolution(x_BCHW, weight, [stride // side] * 2, [before] * 2, [after] * 2, [1, 1])


def pointwise(x_BCHW: Node, weight_OC: Weights) -> Node:
    """A 1x1 convolution without bias."""
    return op.convolution(x_BCHW, constant(weight_OC[:, :, None, None]), [1, 1], [0, 0], [0, 0], [1, 1])


def depthwise(x_BCHW: Node, weight_C1hw: Weights, stride: int, padding: int) -> Node:
    """A depthwise convolution without bias."""
    weight_C11hw = constant(weight_C1hw[:, :, None])
    return op.group_convolution(x_BCHW, weight_C11hw, [stride] * 2, [padding] * 2, [padding] * 2, [1, 1])


def batch_norm(x: Node, norm: Norm) -> Node:
    """Scale and shift each channel with statistics that were folded beforehand. Channels are the second axis."""
    axes = [1, -1] + [1] * (len(shape_of(x)) - 1)
    scaled = op.multiply(x, constant(norm.scale_C.reshape(axes)))
    return op.add(scaled, constant(norm.shift_C.reshape(axes)))


def layer_norm(x_BE: Node, norm: LayerNorm) -> Node:
    """Layer normalisation over the last axis."""
    y_BE = op.mvn(x_BE, [-1], True, NORM_EPSILON, "inside_sqrt")
    return op.add(op.multiply(y_BE, constant(norm.weight)), constant(norm.bias))


def standardise(x_BHWC: Node, floor: float) -> Node:
    """Subtract each image's mean and divide by its standard deviation plus a floor.

    The deviation is that of a sample, divided by the number of pixels minus one; OpenVINO divides by their number.
    """
    pixels = math.prod(shape_of(x_BHWC))
    widen = math.sqrt(pixels / (pixels - 1))
    return op.multiply(op.mvn(x_BHWC, [1, 2, 3], True, floor / widen, "outside_sqrt"), constant(1.0 / widen))


def mean(x_BCHW: Node) -> Node:
    """(B, C). A pooling: OpenVINO's reductions leave bfloat16.

    OpenVINO computes everything between the last heavy layer and an output in float32: here that would be all means in
    the state, and with them their maps. A convolution by one counts as a heavy layer.
    """
    channels, _, side = shape_of(x_BCHW)
    by_one_C1hw = np.ones((channels, 1, 1, 1), np.float32)
    return op.squeeze(depthwise(average_pool(x_BCHW, side), by_one_C1hw, 1, 0), [2, 3])


def average_pool(x_BCHW: Node, size: int) -> Node:
    """Average over windows of size x size that move by one, without padding."""
    return op.avg_pool(x_BCHW, [1, 1], [0, 0], [0, 0], [size, size], True)


def max_pool(x_BCHW: Node, size: int) -> Node:
    """Maximum over windows of size x size that move by one, without padding."""
    return op.max_pool(x_BCHW, [1, 1], [1, 1], [0, 0], [0, 0], [size, size]).output(0)


def neighbours(x_BCHW: Node, kernel: int) -> Iterator[Node]:
    """The map as each position of the kernel sees it, with zeros beyond its edges."""
    if kernel == 1:
        yield x_BCHW
        return
    pad, side = kernel // 2, shape_of(x_BCHW)[-1]
    padded = op.pad(x_BCHW, [0, 0, pad, pad], [0, 0, pad, pad], "constant", constant(0.0))
    for row in range(kernel):
        for column in range(kernel):
            yield op.slice(padded, [row, column], [row + side, column + side], [1, 1], [2, 3])


def total(terms: list[Node]) -> Node:
    """The sum of at least one node."""
    first, *others = terms
    for other in others:
        first = op.add(first, other)
    return first
