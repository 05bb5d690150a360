"""Causal building blocks: each output depends only on its own frame and earlier ones.

Shapes: B streams, T frames, C channels, H and W pixels, N = T * B frames in time-major order (all streams of frame 0,
then all of frame 1, ...), so that a shift in time is one contiguous slice. K taps of a temporal kernel, S steps of a
window.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalDepthwise(nn.Module):
    """Depthwise convolution over time and space, as one 2-D convolution for each temporal tap (fast on a CPU).

    `weight` is that of the `Conv3d` it replaces: (C, 1, K, h, w). `clip` pads both ends of time, as in the paper;
    `sequence` and `step` pad only the past.
    """

    def __init__(self, channels: int, taps: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.channels, self.taps, self.padding, self.stride = channels, taps, kernel // 2, stride
        self.weight = nn.Parameter(torch.empty(channels, 1, taps, kernel, kernel))
        nn.init.kaiming_normal_(self.weight, mode="fan_in")
        self.bias: nn.Parameter | None = None  # only `model.network.folding` adds one, for `step`

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W), padded at both ends of time."""
        stride, padding = (1, self.stride, self.stride), (self.taps // 2, self.padding, self.padding)
        return F.conv3d(x_BCTHW, self.weight, stride=stride, padding=padding, groups=self.channels)

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        """(T * B, C, H, W) in time-major order; each output depends on the frames up to it."""
        weight: Tensor = self.weight
        device = x_NCHW.device.type
        if torch.is_autocast_enabled(device):  # it would cast forward, but not backward
            dtype = torch.get_autocast_dtype(device)
            x_NCHW, weight = x_NCHW.to(dtype), weight.to(dtype)
        y_NCHW: Tensor = _ShiftAndAdd.apply(x_NCHW, weight, streams, self.stride, self.padding)  # type: ignore[no-untyped-call]
        return y_NCHW

    def fresh(self, streams: int, height: int, width: int) -> tuple[Tensor, ...]:
        """The past of `streams` streams before their first frame: zeros."""
        return tuple(self.weight.new_zeros(streams, self.channels, height, width) for _ in range(self.taps - 1))

    def step(self, x_BCHW: Tensor, sums: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`sums[k]` (B, C, H, W) is the contribution of past frames to the output k + 1 frames after the last one."""
        biases = (self.bias, *[None] * (self.taps - 1))
        taps = [self._tap(x_BCHW, k, bias) for k, bias in zip(reversed(range(self.taps)), biases, strict=True)]
        later = tuple(tap.add_(own) for tap, own in zip(taps[:-1], sums, strict=True))
        return later[0], (*later[1:], taps[-1])

    def _tap(self, x_BCHW: Tensor, tap: int, bias: Tensor | None) -> Tensor:
        if self.padding or self.stride != 1:
            return F.conv2d(x_BCHW, self.weight[:, :, tap], bias, self.stride, self.padding, groups=self.channels)
        scaled_BCHW = x_BCHW * self.weight[:, 0, tap]
        return scaled_BCHW if bias is None else scaled_BCHW.add_(bias[:, None, None])


class _ShiftAndAdd(torch.autograd.Function):
    """Sum over lags of the 2-D convolution of the frame `lag` steps earlier. Saves the input once, not once per tap."""

    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, weight: Tensor, streams: int, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x_NCHW, weight)
        ctx.geometry = (streams, stride, padding)
        taps, frames, channels = weight.shape[2], x_NCHW.shape[0], x_NCHW.shape[1]
        y_NCHW = F.conv2d(x_NCHW, weight[:, :, -1], stride=stride, padding=padding, groups=channels)
        for lag in range(1, min(taps, frames // streams)):
            past = x_NCHW[: frames - lag * streams]
            tap = F.conv2d(past, weight[:, :, taps - 1 - lag], stride=stride, padding=padding, groups=channels)
            y_NCHW[lag * streams :] += tap
        return y_NCHW

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (grad_NCHW,) = gradients
        x_NCHW, weight = ctx.saved_tensors
        streams, stride, padding = ctx.geometry
        taps, frames, channels = weight.shape[2], x_NCHW.shape[0], x_NCHW.shape[1]
        grad_x, grad_weight = torch.zeros_like(x_NCHW), torch.zeros_like(weight)
        for lag in range(min(taps, frames // streams)):
            stop, tap = frames - lag * streams, taps - 1 - lag
            to_x, to_weight, _ = torch.ops.aten.convolution_backward(
                grad_NCHW[lag * streams :],
                x_NCHW[:stop],
                weight[:, :, tap],
                None,
                [stride, stride],
                [padding, padding],
                [1, 1],
                False,
                [0, 0],
                channels,
                [True, True, False],
            )
            grad_x[:stop] += to_x
            grad_weight[:, :, tap] = to_weight
        return grad_x, grad_weight, None, None, None


def window_mean_sequence(x_NC: Tensor, streams: int, window_steps: int) -> Tensor:
    """Mean of each stream's last `window_steps` steps at each step, fewer at the beginning: (N, C)."""
    x_TBC = x_NC.view(-1, streams, x_NC.shape[1])
    if window_steps == 1:
        return x_NC
    sums_TBC = F.pad(x_TBC, (0, 0, 0, 0, window_steps - 1, 0)).unfold(0, window_steps, 1).sum(dim=-1)
    count_T = torch.arange(1, len(x_TBC) + 1, device=x_NC.device).clamp_(max=window_steps)
    return (sums_TBC / count_T[:, None, None]).reshape(x_NC.shape)


def window_mean_step(x_BC: Tensor, window_BSC: Tensor, seen_B: Tensor) -> tuple[Tensor, Tensor]:
    """The same for one step: the mean, and the window after it. `seen_B` counts the steps before this one."""
    window_BSC = torch.cat([window_BSC[:, 1:], x_BC[:, None]], dim=1)
    count_B = (seen_B + 1).clamp(max=window_BSC.shape[1])
    return window_BSC.sum(dim=1) / count_B[:, None], window_BSC
