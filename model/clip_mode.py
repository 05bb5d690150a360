"""Clip mode, as the paper's authors run their network: every analysed frame ends a clip, whose features are computed
from scratch, and the GRU continues from the previous frame. Runs in torch, at about 13 times the cost of causal mode.

As in the authors' program, a stream's first frame is repeated in place of missing earlier frames.

Shapes: B streams, T frames of a clip, C = 3 channels (RGB), H = W pixels, K labels, F features of both branches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoints.checkpoint import load_weights
from model.clip_stream import ClipStream
from model.compiled.layers import Network
from model.network.cake import Cake
from model.video.preprocess import normalise

# See findings/torch-one-thread-drops-channels-last.sh.
LEAST_THREADS = 2


class ClipRunner:
    """One network in clip mode. Not thread-safe.

    Args:
        network: its weights are copied.
        threads: how many torch uses in this process; at least two, which may share a core: with one, torch drops the
            channels-last layout, and takes 1.4 to 1.8 times the processor time.

    Raises:
        CheckpointError: the weights do not fit the configuration.
    """

    def __init__(self, network: Network, threads: int) -> None:
        torch.set_num_threads(max(threads, LEAST_THREADS))
        self._steps = network.config.trunk.window_steps
        self._network = _channels_last(network)

    @torch.inference_mode()
    def push(self, streams: Sequence[ClipStream], images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Advance each stream by one frame, clip by clip: a batch would not be faster.

        Returns:
            Scores in [0, 1], (B, K).
        """
        results = [self._push(stream, image) for stream, image in zip(streams, images_BHWC, strict=True)]
        for stream, (images_THWC, hidden_Z, _) in zip(streams, results, strict=True):
            # Not earlier: a push that fails must not advance any stream.
            stream.images_THWC, stream.hidden_Z = images_THWC, hidden_Z
            stream.frames += 1
        return np.stack([scores_K for *_, scores_K in results])

    def _push(
        self, stream: ClipStream, image_HWC: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """The stream's next frames and hidden state, and the scores."""
        images_THWC = stream.with_frame(image_HWC)
        features_1F = self._features(images_THWC)
        scores_1K, hidden_1Z = self._network.head.step(features_1F, torch.from_numpy(stream.hidden_Z)[None])
        return images_THWC, hidden_1Z[0].numpy(), scores_1K[0].numpy()

    def _features(self, images_THWC: NDArray[np.uint8]) -> Tensor:
        """Features of the clip that ends with these frames; the first frame is repeated at its beginning."""
        before_THWC = np.repeat(images_THWC[:1], self._steps - len(images_THWC), axis=0)
        x_BCTHW = torch.from_numpy(normalise(np.concatenate([before_THWC, images_THWC]))).transpose(0, 1)[None]
        found = self._network.clip(x_BCTHW.contiguous(memory_format=torch.channels_last_3d))
        return torch.cat([found.static_BD, found.motion_BD], dim=1)


def _channels_last(network: Network) -> Cake:
    """A copy for evaluation whose convolutions use the channels-last layout: the same numbers in less time."""
    copy = Cake(network.config)
    load_weights(copy, {name: torch.from_numpy(array.copy()) for name, array in network.arrays().items()})
    for parameter in copy.parameters():
        if parameter.dim() in (4, 5):
            layout = torch.channels_last if parameter.dim() == 4 else torch.channels_last_3d
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return copy.eval()
