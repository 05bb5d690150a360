"""The authors' way of measuring: each frame's scores come from the clip of 13 frames around it, not up to it.

A clip reaches 6 frames into the future, 1.5 s at 4 frames a second, so these results are comparable with the paper's
tables, but not with those of a served model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from model.config import ModelConfig
from model.network.cake import Cake
from model.training.evaluation.scores import StreamScores
from model.training.feature_files import frame_features
from model.training.frame_cache import Frames
from model.training.layouts.annotations import LabelledVideo


class CentredClips:
    """Scores videos with a network in evaluation mode."""

    def __init__(self, network: Cake) -> None:
        self._network = network

    @property
    def config(self) -> ModelConfig:
        """The network's configuration."""
        return self._network.config

    @torch.inference_mode()
    def score(
        self,
        videos: Sequence[LabelledVideo],
        load: Callable[[LabelledVideo], Frames],
        on_progress: Callable[[int, int], None],
    ) -> list[StreamScores]:
        """Scores of each video, in order."""
        scored: list[StreamScores] = []
        for video in videos:
            frames, head = load(video), self._network.head
            features_TF = np.concatenate(frame_features(self._network, frames.images_TSS3, "clip"), axis=1)
            scores_TK = head(torch.from_numpy(features_TF)[None])[0].numpy()
            scored.append(StreamScores(video.name, frames.pts_s_T, scores_TK, video.segments))
            on_progress(len(scored), len(videos))
        return scored
