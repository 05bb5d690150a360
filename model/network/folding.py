"""Batch norms folded into the convolutions before them: the same outputs, with fewer passes over memory."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from model.network.cake import Cake
from model.network.causal import CausalDepthwise


@torch.no_grad()
def fold_norms(model: Cake) -> Cake:
    """A copy for inference. The norms after dynamic convolutions stay, because the kernels change with the input."""
    folded = copy.deepcopy(model).eval()
    stem = folded.trunk.stem
    stem.norm = _fold(stem.temporal, stem.norm)
    for block in folded.trunk.blocks():
        block.expand_norm = _fold(block.expand, block.expand_norm)
        block.depthwise_norm = _fold(block.depthwise, block.depthwise_norm)
        block.project_norm = _fold(block.project, block.project_norm)
        if block.shortcut is not None and block.shortcut_norm is not None:
            block.shortcut_norm = _fold(block.shortcut, block.shortcut_norm)
    for head in (folded.static_head, folded.motion_head):
        head.norm = _fold(head.widen, head.norm)
    return folded


def _fold(convolution: nn.Conv2d | CausalDepthwise, norm: nn.Module) -> nn.Module:
    """Scale the convolution's weights and give it a bias; returns what is left of the norm."""
    if isinstance(norm, nn.Identity):
        return norm  # already folded
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(norm.running_mean, Tensor)
    assert isinstance(norm.running_var, Tensor)
    scale_C = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    convolution.weight.mul_(scale_C.view(-1, *[1] * (convolution.weight.dim() - 1)))
    convolution.bias = nn.Parameter(norm.bias - norm.running_mean * scale_C)
    return nn.Identity()
