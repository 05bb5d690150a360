"""Stage 4: features of every frame, on which the contrast and head stages train; read from a layout of the field
(`model.training.layouts.feature_sessions`) or extracted here.

Shapes: V views, T frames, D features of a branch, F = 2 * D, K labels, C channels, H and W of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.atomic import write_atomically
from model.training.layouts.annotations import LabelledVideo
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.segments import label_frames
from model.training.loop import StageMismatchError
from model.training.progress import Progress
from model.training.run import Run
from model.training.stages.distill import Student, cache_static_maps, load_static_maps, load_student


def extract_features(run: Run, progress: Progress) -> None:
    """Extract features of every view of the training and validation videos. Existing files are kept."""
    videos = [*run.training, *run.validation]
    cache_static_maps(run, videos, progress)
    missing = [video for video in videos if not _path(run, video).is_file()]
    progress.on_stage(f"features of {len(missing)} videos")
    if not missing:
        return
    student = load_student(run)
    for done, video in enumerate(missing, start=1):
        features_VTF = np.stack([_features(student, maps_TCHW) for maps_TCHW in load_static_maps(run, video)])
        _path(run, video).parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(_path(run, video)) as partial_path:
            np.save(partial_path, features_VTF)
        progress.on_item(done, len(missing))


def load_features(run: Run, videos: Sequence[LabelledVideo]) -> list[FeatureSequence]:
    """A sequence for each view of each video. `StageMismatchError` when they are not extracted."""
    if missing := [video.name for video in videos if not _path(run, video).is_file()]:
        raise StageMismatchError(
            f"features of {len(missing)} videos are not extracted; run it first: cake train features"
        )
    return [sequence for video in videos for sequence in _load(run, video)]


def _load(run: Run, video: LabelledVideo) -> list[FeatureSequence]:
    pts_s_T = run.frames.load_pts_s(video)
    labels = label_frames(video.segments, run.config.labels, pts_s_T)
    return [
        FeatureSequence(f"{video.name} view {view}", static_TD, motion_TD, labels, pts_s_T)
        for view, features_TF in enumerate(np.load(_path(run, video)))
        for static_TD, motion_TD in [np.split(features_TF, 2, axis=1)]
    ]


def _path(run: Run, video: LabelledVideo) -> Path:
    return run.cache_dir / "features" / f"{run.frames.path(video).stem}.npy"


@torch.inference_mode()
def _features(student: Student, maps_TCHW: NDArray[np.float16]) -> NDArray[np.float32]:
    """Static and motion features (T, F) of the causal trunk's maps."""
    static_NCHW = torch.from_numpy(np.array(maps_TCHW, np.float32))
    motion_NCHW = student.motion.sequence(static_NCHW, streams=1)
    features = (
        student.static_head.sequence(static_NCHW, streams=1),
        student.motion_head.sequence(motion_NCHW, streams=1),
    )
    features_TF: NDArray[np.float32] = torch.cat(features, dim=1).numpy()
    return features_TF
