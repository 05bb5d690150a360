"""The features that a frozen network computes for clips, computed once for each clip and kept in a folder.

Shapes: V views, T frames, F features of both branches, P values of a thumbnail, S pixels of the input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.atomic import write_atomically
from model.network.cake import Cake, batch_major, time_major
from model.training.clips.few.views import random_views, served_frames
from model.training.frame_cache import file_identity
from model.training.layouts.video_lists import LabelledClip
from model.training.progress import Progress
from model.video.errors import VideoError
from model.video.preprocess import normalise

VIEWS = 4
_THUMBNAIL_PX = 12
_FORMAT = 1

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FrozenClip:
    """One clip as the frozen network sees it."""

    served_TF: _Floats
    """Features of the clip as it is served."""
    views_VTF: _Floats
    """Features of random views."""
    thumbnail_P: _Floats
    """Grey levels of the downscaled median frame: what the camera sees when nothing moves."""


@dataclass(frozen=True)
class FrozenNetwork:
    """Everything that features depend on: the network up to its head, and the seed of the random views."""

    network: Cake
    version: str
    seed: int = 0
    views: int = VIEWS

    @torch.inference_mode()
    def features(self, images_BTCSS: _Floats) -> _Floats:
        """Static and motion features (B, T, F) of normalised RGB; streams begin at the first frame."""
        streams, network = len(images_BTCSS), self.network
        *_, map_NCHW = network.trunk.sequence_maps(time_major(torch.from_numpy(images_BTCSS)), streams)
        motion_NCHW = network.motion.sequence(map_NCHW, streams)
        branches = (
            network.static_head.sequence(map_NCHW, streams),
            network.motion_head.sequence(motion_NCHW, streams),
        )
        return np.asarray(batch_major(torch.cat(branches, dim=1), streams).numpy(), np.float32)


def extract(
    clips: Sequence[LabelledClip], frozen: FrozenNetwork, folder: Path, progress: Progress
) -> tuple[list[FrozenClip | None], Mapping[str, str]]:
    """The features of each clip, None if it does not decode, and the reasons by path. Features already in `folder`
    are reused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: list[FrozenClip | None] = []
    failures: dict[str, str] = {}
    for done, clip in enumerate(clips, start=1):
        try:
            found.append(_extract(clip.path, frozen, folder))
        except VideoError as error:
            failures[str(clip.path)] = str(error)
            found.append(None)
        progress.on_item(done, len(clips))
    return found, failures


def _extract(path: Path, frozen: FrozenNetwork, folder: Path) -> FrozenClip:
    depends_on = (_FORMAT, str(path.absolute()), file_identity(path), frozen.version, frozen.seed, frozen.views)
    key = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:16]
    file = folder / f"{path.stem}-{key}.npz"
    if not file.is_file():
        made = _compute(path, frozen, int(key, 16))
        with write_atomically(file) as partial_path:
            np.savez(partial_path, served=made.served_TF, views=made.views_VTF, thumbnail=made.thumbnail_P)
    with np.load(file) as stored:
        return FrozenClip(stored["served"], stored["views"], stored["thumbnail"])


def _compute(path: Path, frozen: FrozenNetwork, seed: int) -> FrozenClip:
    config = frozen.network.config
    images_TSS3 = served_frames(path, config)
    views_VTCSS = random_views(path, config, np.random.default_rng(seed), frozen.views)
    grey_SS = np.median(images_TSS3, axis=0).mean(axis=-1).astype(np.float32)
    thumbnail = cv2.resize(grey_SS, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return FrozenClip(
        frozen.features(normalise(images_TSS3)[None])[0],
        frozen.features(views_VTCSS),
        np.asarray(thumbnail, np.float32).ravel(),
    )
