"""The protocol with which video networks are measured on Kinetics: 10 clips of each video, and 3 crops of each clip.

A clip takes every sixth frame of the video, whatever its rate, as the authors' script does. The scores of a video are
the mean over its views of each branch's softmax; "both" is the mean of the two branches.

Shapes: V = 30 views, T frames of a clip, C = 3 channels, S pixels, N classes, M videos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoints.checkpoint import load_feature_network
from model.checkpoints.classifiers import ClipClassifiers, read_classifiers
from model.metrics import Floats
from model.network.cake import Cake
from model.training.evaluation.clip_report import ClipReport, evaluate_clips
from model.training.evaluation.evaluate import align
from model.training.layouts.annotations import DataError
from model.training.layouts.video_lists import read_class_names, read_clips
from model.training.progress import Progress
from model.video.errors import VideoError
from model.video.file_reader import open_video
from model.video.preprocess import MEAN, STD

CLIPS, CROPS = 10, 3
FRAME_STEP = 6
BRANCHES = ("static", "motion", "both")


@dataclass(frozen=True)
class ThirtyViewsReport:
    """Top-1 and top-5 accuracy of each branch alone and of both, by `BRANCHES`."""

    branches: Mapping[str, ClipReport]

    def to_json(self) -> dict[str, object]:
        """One object for `json.dumps`, keyed by the branches' names."""
        return {name: asdict(report) for name, report in self.branches.items()}

    def table(self) -> str:
        """The same for a reader: a line for each branch, in percent."""
        rows = [
            [name, str(report.clips), f"{100 * report.top1:.2f}", f"{100 * report.top5:.2f}"]
            for name, report in self.branches.items()
        ]
        return align([[f"{CLIPS * CROPS} views", "videos", "top-1", "top-5"], *rows])


def measure_thirty_views(
    model: str | Path, list_file: Path, *, root: Path | None, class_file: Path | None, progress: Progress
) -> tuple[ThirtyViewsReport, dict[str, str]]:
    """The report on the listed videos, and which do not decode, with the reason.

    Raises:
        DataError: the list or the class file is wrong, the classes are not those of the classifiers, or no video
            decodes.
        CheckpointError: the checkpoint has no classifiers, or lacks a branch.
        CheckpointNotFoundError: there is no such checkpoint.
    """
    classifiers, network = read_classifiers(model), load_feature_network(model)
    clips = read_clips(list_file, root, class_file)
    names = _class_names(class_file, len(classifiers.static_bias_N))
    unknown = sorted({clip.label for clip in clips} - set(names))
    if unknown:
        raise DataError(f"{list_file}: {', '.join(unknown[:5])}: expected numbers below {len(names)}, or --classes")
    progress.on_stage(f"{CLIPS * CROPS} views of {len(clips)} videos")
    scores: list[dict[str, Floats]] = []
    truth: list[str] = []
    failures: dict[str, str] = {}
    for done, clip in enumerate(clips, start=1):
        try:
            scores.append(_scores_of_video(network, classifiers, clip.path))
            truth.append(clip.label)
        except VideoError as error:
            failures[str(clip.path)] = str(error)
        progress.on_item(done, len(clips))
    if not scores:
        raise DataError(f"{list_file}: none of the {len(clips)} videos decodes")
    by_branch = {name: np.stack([found[name] for found in scores]) for name in BRANCHES}
    return ThirtyViewsReport({name: evaluate_clips(by_branch[name], truth, names) for name in BRANCHES}), failures


def _class_names(class_file: Path | None, classes: int) -> list[str]:
    if class_file is None:
        return [str(number) for number in range(classes)]
    names = [name for name in read_class_names(class_file) if name]
    if len(names) != classes:
        raise DataError(f"{class_file}: {len(names)} classes; the model's classifiers have {classes}")
    return names


@torch.inference_mode()
def _scores_of_video(network: Cake, classifiers: ClipClassifiers, path: Path) -> dict[str, Floats]:
    """By branch, (N,)."""
    size, steps = network.config.image_size, network.config.trunk.window_steps
    static, motion = [], []
    for view_CTSS in views_of_video(path, size, steps):
        found = network.clip(view_CTSS[None])
        static.append(_probabilities(found.static_BD, classifiers.static_ND, classifiers.static_bias_N))
        motion.append(_probabilities(found.motion_BD, classifiers.motion_ND, classifiers.motion_bias_N))
    static_N, motion_N = np.mean(static, axis=0), np.mean(motion, axis=0)
    return {"static": static_N, "motion": motion_N, "both": (static_N + motion_N) / 2}


def _probabilities(feature_1D: Tensor, weight_ND: NDArray[np.float32], bias_N: NDArray[np.float32]) -> Floats:
    logits_1N = F.linear(feature_1D, torch.from_numpy(weight_ND), torch.from_numpy(bias_N))
    probabilities_N: Floats = torch.softmax(logits_1N, dim=1)[0].double().numpy()
    return probabilities_N


def views_of_video(path: Path, size: int, steps: int) -> Iterator[Tensor]:
    """The 30 normalised views (C, T, S, S), the crops of one clip after another. Decodes the video twice: once to count
    its frames, once for those that are needed.

    Raises:
        VideoError: it does not decode.
    """
    with open_video(path) as video:
        total = sum(1 for _ in video.frames())
    starts = clip_starts(total, steps)
    needed = sorted({index for start in starts for index in clip_frames(start, steps, total)})
    with open_video(path) as video:
        images = {
            index: _resized(frame.image, size) for index, frame in enumerate(video.frames()) if index in set(needed)
        }
    for start in starts:
        clip_TCHW = torch.stack([images[index] for index in clip_frames(start, steps, total)])
        for top, left in _corners(clip_TCHW.shape[2], clip_TCHW.shape[3], size):
            yield clip_TCHW[:, :, top : top + size, left : left + size].transpose(0, 1)


def clip_starts(total: int, steps: int) -> list[int]:
    """The first frame of each clip, spread evenly; all 0 in a video that is no longer than a clip."""
    span = (steps - 1) * FRAME_STEP + 1
    spare = max(0, total - span)
    return [int(spare / CLIPS * clip) for clip in range(CLIPS)]


def clip_frames(start: int, steps: int, total: int) -> list[int]:
    """The frames of a clip; after the video's end, its last frame is repeated."""
    return [min(start + FRAME_STEP * step, total - 1) for step in range(steps)]


def _resized(image_HWC: NDArray[np.uint8], size: int) -> Tensor:
    """Normalised, its short side `size` pixels long: (C, H, W)."""
    height, width = image_HWC.shape[:2]
    scaled = [max(size, int(size * side / min(height, width))) for side in (height, width)]
    x_1CHW = torch.from_numpy(image_HWC.transpose(2, 0, 1).astype(np.float32))[None]
    x_1CHW = F.interpolate(x_1CHW, size=scaled, mode="bilinear", antialias=True)
    normalised_CHW: Tensor = ((x_1CHW / 255 - MEAN) / STD)[0]
    return normalised_CHW


def _corners(height: int, width: int, size: int) -> Sequence[tuple[int, int]]:
    """Top and left of the three crops: at both ends of the longer side and in the middle."""
    bottom, right = height - size, width - size
    return (0, 0), (round(bottom / 2), round(right / 2)), (bottom, right)
