"""The features of a video's views, of a variant's branches. Shapes: V views, T frames, D features of a branch."""

from __future__ import annotations

import numpy as np
import torch

from model.network.feature_head import FeatureHead
from model.training.ablation.motion import MotionBranch
from model.training.layouts.annotations import LabelledVideo
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.segments import label_frames
from model.training.run import Run
from model.training.stages.distill import load_static_maps


@torch.inference_mode()
def sequences_of_views(
    run: Run, video: LabelledVideo, static_head: FeatureHead, motion: MotionBranch | None
) -> list[FeatureSequence]:
    """Each view's features, the whole frame first. Without `motion`, the motion features have no width."""
    pts_s_T = run.frames.load_pts_s(video)
    labels = label_frames(video.segments, run.config.labels, pts_s_T)
    moved_VTD = None if motion is None else motion.features(run, video)
    found = []
    for view, maps_TCHW in enumerate(load_static_maps(run, video)):
        static_TD = static_head.sequence(torch.from_numpy(np.array(maps_TCHW, np.float32)), streams=1).numpy()
        motion_TD = static_TD[:, :0] if moved_VTD is None else moved_VTD[view]
        found.append(FeatureSequence(video.name, static_TD, motion_TD, labels, pts_s_T))
    return found
