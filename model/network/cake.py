"""CAKE (arXiv 2603.23988): RGB-only online action detection. One set of parameters can be run in three ways.

- `clip`: the paper's own computation, features of one clip of frames, padded at both ends of time; for imported
  weights and for comparison;
- `sequence`: the causal network on whole sequences, a score on every frame; for training;
- `step`: the causal network on one more frame of each stream, equal to the last frame of `sequence`; for the ONNX
  export (`model.checkpoints.export`) and for looking into the network (`model.training.look`).

None of them is used for serving. The server runs the same step as an OpenVINO graph, which
`model.compiled.graph.build_step_graph` builds from this network's arrays and `model.detector.Detector` runs, without
torch and several times as fast.

Shapes: B streams, T frames, C = 3 channels (RGB, normalised by `model.video.preprocess`), H = W pixels, D features,
K labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.config import ModelConfig
from model.network.feature_head import FeatureHead
from model.network.geometry import check_takes_video
from model.network.head import Head
from model.network.motion import MotionAdapter, MotionState
from model.network.x3d import Trunk, TrunkState


@dataclass(frozen=True)
class CakeState:
    """The state of the network for B streams (see `model.network.state`)."""

    seen_B: Tensor
    """Frames seen, int64."""
    trunk: TrunkState
    motion: MotionState
    static_BSV: Tensor
    motion_BSV: Tensor
    hidden_BH: Tensor


@dataclass(frozen=True)
class ClipFeatures:
    """The result of `Cake.clip`: both features, and the maps from which they were pooled."""

    static_BD: Tensor
    motion_BD: Tensor
    static_map_BCTHW: Tensor
    motion_map_BCTHW: Tensor


class Cake(nn.Module):
    """The whole network.

    Raises:
        ConfigError: the configuration is that of a head alone, which was trained on features of one branch.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.trunk.widths[-1]
        check_takes_video(config)
        self.trunk = Trunk(config.trunk)
        self.static_head = FeatureHead(width, config.head)
        self.motion = MotionAdapter(width, config.motion_kernels, config.trunk.window_steps)
        self.motion_head = FeatureHead(width, config.head, config.head.feature_widths[1])
        self.head = Head(config.head, len(config.labels))

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Parameters and buffers by name, not copied, as `model.detector.Detector` takes them."""
        return {name: tensor.numpy(force=True) for name, tensor in self.state_dict().items()}

    def clip(self, x_BCTHW: Tensor) -> ClipFeatures:
        """Features of clips (B, C, T, H, W), padded at both ends of time. H and W may differ."""
        static_map = self.trunk.clip(x_BCTHW)
        motion_map = self.motion.clip(static_map)
        return ClipFeatures(
            self.static_head.clip(static_map), self.motion_head.clip(motion_map), static_map, motion_map
        )

    def sequence(self, x_BTCHW: Tensor) -> Tensor:
        """Logits (B, T, K); streams begin at their first frame."""
        streams = len(x_BTCHW)
        *_, static_map = self.trunk.sequence_maps(time_major(x_BTCHW), streams)
        return self.logits_of_map(static_map, streams)

    def logits_of_map(self, static_map_NCHW: Tensor, streams: int) -> Tensor:
        """Logits (B, T, K) of the causal trunk's last map, T * B frames in time-major order."""
        motion_map = self.motion.sequence(static_map_NCHW, streams)
        static_ND = self.static_head.sequence(static_map_NCHW, streams)
        features_NF = torch.cat([static_ND, self.motion_head.sequence(motion_map, streams)], dim=1)
        return self.head.logits(batch_major(features_NF, streams), self.head.fresh(streams))[0]

    def fresh(self, streams: int) -> CakeState:
        """The state of `streams` streams before their first frame."""
        trunk, side = self.trunk.fresh(streams, self.config.image_size)
        return CakeState(
            seen_B=torch.zeros(streams, dtype=torch.int64),
            trunk=trunk,
            motion=self.motion.fresh(streams, side),
            static_BSV=self.static_head.fresh(streams, side),
            motion_BSV=self.motion_head.fresh(streams, side),
            hidden_BH=self.head.fresh(streams),
        )

    def step(self, x_BCHW: Tensor, state: CakeState) -> tuple[Tensor, CakeState]:
        """Scores (B, K) in [0, 1] of one more frame of each stream, and the state after it.

        Equals the last frame of `sequence` up to rounding. `Detector` serves a faster form of this step.
        """
        static_BD, motion_BD, after = self.step_features(x_BCHW, state)
        scores_BK, hidden_BH = self.head.step(torch.cat([static_BD, motion_BD], dim=1), state.hidden_BH)
        return scores_BK, replace(after, hidden_BH=hidden_BH)

    def step_features(self, x_BCHW: Tensor, state: CakeState) -> tuple[Tensor, Tensor, CakeState]:
        """The static and the motion feature (B, D) of one more frame, and the state after it, except for the head's."""
        seen_B = state.seen_B
        static_map, trunk = self.trunk.step(x_BCHW, state.trunk, seen_B)
        motion_map, motion = self.motion.step(static_map, state.motion, seen_B)
        static_BD, static_BSV = self.static_head.step(static_map, state.static_BSV, seen_B)
        motion_BD, motion_BSV = self.motion_head.step(motion_map, state.motion_BSV, seen_B)
        after = CakeState(seen_B + 1, trunk, motion, static_BSV, motion_BSV, state.hidden_BH)
        return static_BD, motion_BD, after


def time_major(x_BTCHW: Tensor) -> Tensor:
    """(B, T, C, H, W) -> (T * B, C, H, W), channels last in memory, as the causal layers take it."""
    return x_BTCHW.transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def batch_major(x_NF: Tensor, streams: int) -> Tensor:
    """(T * B, F) -> (B, T, F): back from the causal layers' order."""
    x_TBF: Tensor = x_NF.unflatten(0, (-1, streams))
    return x_TBF.transpose(0, 1)
