"""Omni-dimensional dynamic convolution (Li, Zhou, Yao: "Omni-Dimensional Dynamic Convolution", ICLR 2022) in 3-D.

The kernel is re-weighted for each input along four dimensions: input channel, output channel, position in the kernel,
and choice among several kernels. Because each weight is a factor of the convolution's sum, the input's columns are
scaled and one matrix product with the shared kernels does the rest: no kernel is ever built per sample.

In `clip`, one attention is used for the whole clip, padded at both ends of time; in `sequence` and `step`, the
attention is computed from the last `window_steps` steps and depends only on past frames.

Shapes: B streams, T frames, N = T * B frames in time-major order, C channels, H and W pixels, L = H * W (x T in a clip)
positions of the map, P = taps * kernel^2 positions of the kernel, K kernels, S window steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.causal import window_mean_sequence, window_mean_step
from model.network.geometry import DynamicShape, attention_width


@dataclass(frozen=True)
class ODConvState:
    """The state of one dynamic convolution for B streams."""

    past_BTCHW: Tensor
    """The last taps - 1 input maps."""
    window_BSC: Tensor


class Attention(nn.Module):
    """The four attentions from the mean of the input's channels. `temperature` above 1 flattens them (annealed in
    training).
    """

    def __init__(self, channels: int, out_channels: int, shape: DynamicShape) -> None:
        super().__init__()
        hidden, positions, kernels = attention_width(channels), shape.positions, shape.kernels
        self.temperature = 1.0
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.input_channel = nn.Linear(hidden, channels)
        self.output_channel = None if shape.depthwise else nn.Linear(hidden, out_channels)
        self.position = nn.Linear(hidden, positions) if positions > 1 else None
        self.kernel = nn.Linear(hidden, kernels) if kernels > 1 else None

    def forward(self, mean_NC: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Weights of (input channels, output channels or None, positions or None, kernels or None), each (N, ...)."""
        hidden = F.relu(self.norm(self.reduce(mean_NC)))

        def gate(layer: nn.Linear | None) -> Tensor | None:
            return None if layer is None else torch.sigmoid(layer(hidden) / self.temperature)

        kernel_NK = None if self.kernel is None else torch.softmax(self.kernel(hidden) / self.temperature, dim=1)
        input_NC = torch.sigmoid(self.input_channel(hidden) / self.temperature)
        return input_NC, gate(self.output_channel), gate(self.position), kernel_NK


class ODConv3d(nn.Module):
    """Stride 1, same size, no bias. `weight` is (K, out, in or 1 if depthwise, taps, kernel, kernel)."""

    def __init__(self, in_channels: int, out_channels: int, shape: DynamicShape, window_steps: int) -> None:
        super().__init__()
        taps, kernel, depthwise = shape.taps, shape.kernel, shape.depthwise
        self.in_channels, self.taps, self.kernel_size, self.depthwise = in_channels, taps, kernel, depthwise
        self.window_steps = window_steps
        self.weight = nn.Parameter(
            torch.empty(shape.kernels, out_channels, 1 if depthwise else in_channels, taps, kernel, kernel)
        )
        for one_kernel in self.weight:
            nn.init.kaiming_normal_(one_kernel, mode="fan_out" if depthwise else "fan_in", nonlinearity="relu")
        self.attention = Attention(in_channels, out_channels, shape)

    def clip(self, x_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W); one attention from the mean of the whole clip."""
        batch, _, frames, height, width = x_BCTHW.shape
        columns_BTCPL = self._columns(x_BCTHW.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, frames))
        pad = self.taps // 2
        padded = F.pad(columns_BTCPL, (0, 0, 0, 0, 0, 0, pad, pad))
        taps = torch.stack([padded[:, tap : tap + frames] for tap in range(self.taps)], dim=3)
        columns_BCPL = taps.permute(0, 2, 3, 4, 1, 5).flatten(2, 3).flatten(3)
        return self._mix(columns_BCPL, x_BCTHW.mean(dim=(2, 3, 4))).view(batch, -1, frames, height, width)

    def sequence(self, x_NCHW: Tensor, streams: int) -> Tensor:
        """(T * B, C, H, W) in time-major order; each frame's attention from the last `window_steps` frames."""
        columns_NCPL = self._columns(x_NCHW)
        mean_NC = window_mean_sequence(x_NCHW.mean(dim=(2, 3)), streams, self.window_steps)
        frames = len(x_NCHW)
        padded = F.pad(columns_NCPL, (0, 0, 0, 0, 0, 0, (self.taps - 1) * streams, 0))
        taps = torch.cat([padded[tap * streams : tap * streams + frames] for tap in range(self.taps)], dim=2)
        return self._mix(taps, mean_NC).view(frames, -1, *x_NCHW.shape[2:])

    def fresh(self, streams: int, side: int) -> ODConvState:
        """The initial state, for maps of `side` pixels."""
        past_BTCHW = self.weight.new_zeros(streams, self.taps - 1, self.in_channels, side, side)
        return ODConvState(past_BTCHW, self.weight.new_zeros(streams, self.window_steps, self.in_channels))

    def step(self, x_BCHW: Tensor, state: ODConvState, seen_B: Tensor) -> tuple[Tensor, ODConvState]:
        """The map (B, C, H, W) of one more frame, equal to the last one of `sequence`, and the state after it."""
        frames_BTCHW = torch.cat([state.past_BTCHW, x_BCHW[:, None]], dim=1)
        columns_BTCPL = self._columns(frames_BTCHW.flatten(0, 1)).unflatten(0, (x_BCHW.shape[0], self.taps))
        mean_BC, window_BSC = window_mean_step(x_BCHW.mean(dim=(2, 3)), state.window_BSC, seen_B)
        y_BCL = self._mix(columns_BTCPL.transpose(1, 2).flatten(2, 3), mean_BC)
        return y_BCL.view(x_BCHW.shape[0], -1, *x_BCHW.shape[2:]), ODConvState(frames_BTCHW[:, 1:], window_BSC)

    def _columns(self, x_NCHW: Tensor) -> Tensor:
        """The kernel's spatial neighbourhood of each pixel: (N, C, kernel^2, L)."""
        if self.kernel_size == 1:
            return x_NCHW.flatten(2)[:, :, None]
        columns = F.unfold(x_NCHW, self.kernel_size, padding=self.kernel_size // 2)
        return columns.view(x_NCHW.shape[0], self.in_channels, -1, columns.shape[-1])

    def _mix(self, columns_NCPL: Tensor, mean_NC: Tensor) -> Tensor:
        """The dynamic convolution of prepared columns: (N, out, L)."""
        input_NC, output_NC, position_NP, kernel_NK = self.attention(mean_NC)
        scale_NCP = input_NC[:, :, None] if position_NP is None else input_NC[:, :, None] * position_NP[:, None]
        kernels, out_channels = self.weight.shape[:2]
        if self.depthwise:
            y_NCL = torch.einsum("ncp,ncpl->ncl", scale_NCP * self.weight[0, :, 0].flatten(1), columns_NCPL)
        else:
            scaled = (columns_NCPL * scale_NCP[..., None]).flatten(1, 2)
            product = torch.matmul(self.weight.flatten(2).flatten(0, 1), scaled).unflatten(1, (kernels, out_channels))
            y_NCL = product[:, 0] if kernel_NK is None else torch.einsum("nk,nkcl->ncl", kernel_NK, product)
        return y_NCL if output_NC is None else y_NCL * output_NC[..., None]
