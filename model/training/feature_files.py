"""`cake features`: a checkpoint's features of every frame of annotated videos, in the layout that `cake train` and
`cake eval` read (`model.training.layouts.feature_sessions`).

In the mode `causal`, each frame's features come from the frames up to it, as in serving. In the mode `clip`, they come
from the clip of 13 frames around it, as the paper's authors extract them: they look 6 frames ahead, 1.5 s at 4 frames
per second.

Shapes: T frames, S pixels, C channels, D features of a branch, B clips.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.atomic import write_atomically, write_text_atomically
from model.config import BACKGROUND, Mode
from model.network.cake import Cake
from model.training.frame_cache import FrameCache
from model.training.layouts.annotations import SUBSETS, LabelledVideo, labels_of
from model.training.layouts.feature_sessions import TARGET_FOLDER
from model.training.layouts.segments import label_frames
from model.training.progress import Progress
from model.video.preprocess import normalise

RGB_FOLDER, FLOW_FOLDER, LIST_FILE = "rgb_cake", "flow_cake", "data_info.json"
_SETS = dict(zip(SUBSETS, ("train_session_set", "val_session_set", "test_session_set"), strict=True))
_CLIPS_TOGETHER = 8


def write_features(
    network: Cake, videos: Sequence[LabelledVideo], cache: FrameCache, out_dir: Path, mode: Mode, progress: Progress
) -> None:
    """Write the features and targets of each video, whose frames are in the cache, and at last the session lists."""
    labels = (BACKGROUND, *labels_of(videos))
    for folder in (RGB_FOLDER, FLOW_FOLDER, TARGET_FOLDER):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    progress.on_stage(f"{mode} features of {len(videos)} videos")
    for done, video in enumerate(videos, start=1):
        frames = cache.load(video)
        static_TD, motion_TD = frame_features(network, frames.images_TSS3, mode)
        found = label_frames(video.segments, labels, frames.pts_s_T)
        target_TC = np.column_stack([found.target_TK, found.ambiguous_T]).astype(np.float32)
        for folder, array in ((RGB_FOLDER, static_TD), (FLOW_FOLDER, motion_TD), (TARGET_FOLDER, target_TC)):
            with write_atomically(out_dir / folder / f"{video.name}.npy") as partial_path:
                np.save(partial_path, array)
        progress.on_item(done, len(videos))
    sessions = {_SETS[subset]: [video.name for video in videos if video.subset == subset] for subset in SUBSETS}
    lists = {
        "class_names": ["Background", *labels[1:], "Ambiguous"],
        "fps": network.config.sample_hz,
        "mode": mode,
        **{field: names for field, names in sessions.items() if names},
    }
    write_text_atomically(out_dir / LIST_FILE, json.dumps(lists, indent=1) + "\n")


@torch.inference_mode()
def frame_features(
    network: Cake, images_TSS3: NDArray[np.uint8], mode: Mode
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Static and motion features (T, D) of every frame of one video."""
    pairs = _clip_features(network, images_TSS3) if mode == "clip" else _causal_features(network, images_TSS3)
    static_TD, motion_TD = (torch.cat(features).numpy() for features in zip(*pairs, strict=True))
    return static_TD, motion_TD


def _causal_features(network: Cake, images_TSS3: NDArray[np.uint8]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    state, pairs = network.fresh(1), []
    for image_SS3 in images_TSS3:
        static_1D, motion_1D, state = network.step_features(torch.from_numpy(normalise(image_SS3[None])), state)
        pairs.append((static_1D, motion_1D))
    return pairs


def _clip_features(network: Cake, images_TSS3: NDArray[np.uint8]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Beyond the ends of the video, its first and last frames are repeated."""
    frames, steps, pairs = len(images_TSS3), network.config.trunk.window_steps, []
    around = np.arange(steps) - steps // 2
    for first in range(0, frames, _CLIPS_TOGETHER):
        centres = np.arange(first, min(first + _CLIPS_TOGETHER, frames))
        clips_BTSS3 = images_TSS3[np.clip(centres[:, None] + around, 0, frames - 1)]
        x_NCSS = torch.from_numpy(normalise(clips_BTSS3.reshape(-1, *images_TSS3.shape[1:])))
        found = network.clip(x_NCSS.unflatten(0, (len(centres), steps)).transpose(1, 2))
        pairs.append((found.static_BD, found.motion_BD))
    return pairs
