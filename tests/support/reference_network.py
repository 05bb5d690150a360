"""The authors' student and PyTorchVideo's X3D, from their weight files alone: 3-D convolutions throughout, and
the dynamic convolution with a kernel built for each clip. Shares no code with the project's network.

Shapes: B clips, C channels, T frames, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]
POOL = (13, 5, 5)
STAGES = {1: 3, 2: 5, 3: 11, 4: 7}


@dataclass(frozen=True)
class Student:
    static_map: Tensor
    motion_map: Tensor
    static: Tensor
    motion: Tensor
    static_logits: Tensor
    motion_logits: Tensor


def student(weights: Weights, clip_BCTHW: Tensor, temperature: float = 1.0) -> Student:
    """What the authors' `BioX3D_Student` returns."""
    static_map = trunk(weights, clip_BCTHW)
    x = odconv(weights, "flow_adapter.0", static_map, temperature, groups=192)
    x = F.relu(norm(weights, "flow_adapter.1", x))
    x = F.relu(norm(weights, "flow_adapter.4", odconv(weights, "flow_adapter.3", x, temperature)))
    x = F.silu(norm(weights, "hallucinator.bn1", odconv(weights, "hallucinator.time_odconv", x, temperature)))
    motion_map = F.silu(norm(weights, "hallucinator.bn2", odconv(weights, "hallucinator.space_odconv", x, temperature)))
    static, motion = feature(weights, "head", static_map), feature(weights, "flow_head", motion_map)
    logits = [
        F.linear(each, weights[f"{head}.proj.weight"], weights[f"{head}.proj.bias"])
        for each, head in ((static, "head"), (motion, "flow_head"))
    ]
    return Student(static_map, motion_map, static, motion, logits[0], logits[1])


def trunk(weights: Weights, x: Tensor) -> Tensor:
    """The last map of X3D, with 3 or 2 input channels."""
    x = F.conv3d(x, weights["blocks.0.conv.conv_t.weight"], stride=(1, 2, 2), padding=(0, 1, 1))
    x = F.conv3d(x, weights["blocks.0.conv.conv_xy.weight"], padding=(2, 0, 0), groups=24)
    x = F.relu(norm(weights, "blocks.0.norm", x))
    for stage, depth in STAGES.items():
        for index in range(depth):
            x = block(weights, f"blocks.{stage}.res_blocks.{index}", x, 2 if index == 0 else 1)
    return x


def block(weights: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    """A residual block of the trunk: (B, C, T, H, W) to (B, C', T, H / stride, W / stride)."""
    inner = F.relu(norm(weights, f"{name}.branch2.norm_a", conv1(weights, f"{name}.branch2.conv_a", x)))
    kernel = weights[f"{name}.branch2.conv_b.weight"]
    inner = F.conv3d(inner, kernel, stride=(1, stride, stride), padding=1, groups=len(kernel))
    inner = norm(weights, f"{name}.branch2.norm_b.0", inner)
    squeeze = f"{name}.branch2.norm_b.1.block"
    if f"{squeeze}.0.weight" in weights:
        hidden = F.relu(conv1(weights, f"{squeeze}.0", inner.mean(dim=(2, 3, 4), keepdim=True)))
        inner = inner * torch.sigmoid(conv1(weights, f"{squeeze}.2", hidden))
    y = norm(weights, f"{name}.branch2.norm_c", conv1(weights, f"{name}.branch2.conv_c", F.silu(inner)))
    if f"{name}.branch1_conv.weight" in weights:
        x = F.conv3d(x, weights[f"{name}.branch1_conv.weight"], stride=(1, stride, stride))
        if f"{name}.branch1_norm.weight" in weights:
            x = norm(weights, f"{name}.branch1_norm", x)
    return F.relu(x + y)


def feature(weights: Weights, head: str, x: Tensor) -> Tensor:
    """(B, 2048)."""
    x = F.relu(norm(weights, f"{head}.pool.pre_norm", conv1(weights, f"{head}.pool.pre_conv", x)))
    x = F.relu(conv1(weights, f"{head}.pool.post_conv", F.avg_pool3d(x, POOL, stride=1)))
    return x.mean(dim=(2, 3, 4))


def odconv(weights: Weights, name: str, x: Tensor, temperature: float, groups: int = 1) -> Tensor:
    """A dynamic convolution (B, C, T, H, W) with the attentions of the clip's mean."""
    kernels = weights[f"{name}.weight"]
    mean = x.mean(dim=(2, 3, 4), keepdim=True)
    hidden = F.relu(norm(weights, f"{name}.attention.bn", conv1(weights, f"{name}.attention.fc", mean)))

    def gate(part: str, shape: tuple[int, ...]) -> Tensor | float:
        layer = f"{name}.attention.{part}"
        if f"{layer}.weight" not in weights:
            return 1.0
        logits = (conv1(weights, layer, hidden) / temperature).view(len(x), *shape)
        return torch.softmax(logits, dim=1) if part == "kernel_fc" else torch.sigmoid(logits)

    outputs, window = kernels.shape[1], kernels.shape[3:]
    chosen = gate("kernel_fc", (-1, 1, 1, 1, 1, 1)) * kernels[None]
    built = chosen.sum(dim=1) * gate("spatial_fc", (1, 1, *window))
    scaled = x * gate("channel_fc", (-1, 1, 1, 1))
    padding = tuple(size // 2 for size in window)
    clips = [
        F.conv3d(scaled[i : i + 1], built[min(i, len(built) - 1)], padding=padding, groups=groups)
        for i in range(len(x))
    ]
    found: Tensor = torch.cat(clips) * gate("filter_fc", (outputs, 1, 1, 1))
    return found


def norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """A batch norm with its stored statistics."""
    mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    return F.batch_norm(x, mean, variance, weights[f"{name}.weight"], weights[f"{name}.bias"])


def conv1(weights: Weights, name: str, x: Tensor) -> Tensor:
    """A pointwise convolution, with a bias if there is one."""
    return F.conv3d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))
