"""How well the network separates the classes: t-SNE of its classifier's input, as in figure 4 of the paper.

t-SNE (van der Maaten and Hinton, JMLR 2008) keeps neighbours together; distances between clusters, their sizes and the
axes mean nothing. Shapes: B videos side by side, H hidden, N points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from model.config import BACKGROUND
from model.metrics import Floats
from model.network.cake import Cake
from model.network.folding import fold_norms
from model.training.frame_cache import Frames
from model.training.layouts.annotations import LabelledVideo, labels_of
from model.training.layouts.segments import label_frames, last_started
from model.video.preprocess import normalise

_VIDEOS_TOGETHER = 8
PERPLEXITY = 30.0
FEWEST_POINTS = 4


@dataclass(frozen=True)
class Embedding:
    """Frames of labelled videos as points of a plane."""

    title: str
    labels: tuple[str, ...]
    """The labels that `label_N` indexes; 0 is the background."""
    points_N2: Floats
    label_N: NDArray[np.int64]
    video_N: NDArray[np.str_]
    pts_s_N: Floats


def embed_videos(
    model: Cake,
    title: str,
    videos: Sequence[LabelledVideo],
    load: Callable[[LabelledVideo], Frames],
    *,
    per_class: int,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> Embedding:
    """Embed `per_class` frames of each class, drawn at random; all of them where there are fewer. Ambiguous frames are
    left out.

    The features are the fused ones after the GRU and its ReLU, the classifier's input, scaled to length 1, as
    contrastive learning compares them. Raises ValueError when there are fewer than `FEWEST_POINTS` frames.
    """
    labels = (BACKGROUND, *labels_of(videos))
    pts_s, targets, names = [], [], []
    for video in videos:
        pts_s_T = load(video).pts_s_T
        pts_s.append(pts_s_T)
        ambiguous_T = label_frames(video.segments, labels, pts_s_T).ambiguous_T
        targets.append(np.where(ambiguous_T, -1, last_started(video.segments, labels, pts_s_T)))
        names.append(np.full(len(pts_s_T), video.name))
    target_N = np.concatenate(targets)
    chosen = _choose(target_N, per_class, np.random.default_rng(seed))
    if len(chosen) < FEWEST_POINTS:
        raise ValueError(f"{len(chosen)} labelled frames are too few to embed: at least {FEWEST_POINTS} are needed")
    features_NH = np.concatenate(encode_videos(model, videos, load, on_progress))[chosen]
    return Embedding(
        title,
        labels,
        _project(features_NH, seed),
        target_N[chosen],
        np.concatenate(names)[chosen],
        np.concatenate(pts_s)[chosen],
    )


@torch.inference_mode()
def encode_videos(
    model: Cake,
    videos: Sequence[LabelledVideo],
    load: Callable[[LabelledVideo], Frames],
    on_progress: Callable[[int, int], None],
) -> list[Floats]:
    """The classifier's input (T, H) on every frame of each video, step by step: memory does not grow with length."""
    network, encoded_BH = fold_norms(model), []
    network.head.classify.register_forward_pre_hook(lambda _, inputs: encoded_BH.append(inputs[0][:, -1].numpy()))
    features: list[Floats] = []
    for begin in range(0, len(videos), _VIDEOS_TOGETHER):
        group = [load(video) for video in videos[begin : begin + _VIDEOS_TOGETHER]]
        lengths = [len(frames.pts_s_T) for frames in group]
        state = network.fresh(len(group))
        for t in range(max(lengths)):
            # After its end, a video repeats its last frame, which does not affect earlier frames.
            images = np.stack([f.images_TSS3[min(t, n - 1)] for f, n in zip(group, lengths, strict=True)])
            _, state = network.step(torch.from_numpy(normalise(images)), state)
        encoded_TBH = np.stack(encoded_BH)
        features += [encoded_TBH[:n, i] for i, n in enumerate(lengths)]
        encoded_BH.clear()
        on_progress(len(features), len(videos))
    return features


def _choose(target_N: NDArray[np.int64], per_class: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of `per_class` frames of each class, in order."""
    chosen = []
    for target in range(int(target_N.max()) + 1):
        frames = np.flatnonzero(target_N == target)
        chosen.append(rng.choice(frames, min(per_class, len(frames)), replace=False))
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def _project(features_NH: Floats, seed: int) -> Floats:
    unit_NH = features_NH / np.maximum(np.linalg.norm(features_NH, axis=1, keepdims=True), 1e-12)
    perplexity = min(PERPLEXITY, (len(unit_NH) - 1) / 3)
    points_N2: Floats = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(unit_NH)
    return points_N2
