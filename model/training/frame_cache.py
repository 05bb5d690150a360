"""Videos decoded once into small frames on disk.

Shapes: T frames, S pixels.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.config import ModelConfig
from model.training.layouts.annotations import LabelledVideo
from model.video import VideoError, open_video


@dataclass(frozen=True)
class Frames:
    """Sampled frames of one video, memory-mapped from the cache."""

    images_TSS3: NDArray[np.uint8]
    pts_s_T: NDArray[np.float64]


@dataclass(frozen=True)
class FrameCache:
    """`sample_hz` frames a second of each video, as squares of `size` pixels, in `folder`."""

    folder: Path
    sample_hz: float
    size: int

    @classmethod
    def as_served(cls, folder: Path, config: ModelConfig) -> FrameCache:
        """The frames that a detector of this configuration is served."""
        return cls(folder, config.sample_hz, config.image_size)

    def fill(
        self, videos: Sequence[LabelledVideo], processes: int, on_progress: Callable[[int, int], None]
    ) -> dict[str, str]:
        """Decode each video, unless it is cached already and no newer than its frames.

        Returns the videos that do not decode, with the reason; they are left out, never replaced by black frames.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        failures: dict[str, str] = {}
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for done, (name, reason) in enumerate(pool.imap_unordered(partial(_decode, self), videos), start=1):
                if reason is not None:
                    failures[name] = reason
                on_progress(done, len(videos))
        return failures

    def path(self, video: LabelledVideo) -> Path:
        return self.folder / f"{video.name}.{self.size}px.{self.sample_hz:g}hz.npy"

    def load(self, video: LabelledVideo) -> Frames:
        return Frames(np.load(self.path(video), mmap_mode="r"), self.load_pts_s(video))

    def load_pts_s(self, video: LabelledVideo) -> NDArray[np.float64]:
        """The frames' times (T,)."""
        pts_s_T: NDArray[np.float64] = np.load(_pts_path(self.path(video)))
        return pts_s_T


def _pts_path(frames: Path) -> Path:
    return frames.with_suffix(".pts.npy")


def _decode(cache: FrameCache, video: LabelledVideo) -> tuple[str, str | None]:
    path = cache.path(video)
    if path.is_file() and path.stat().st_mtime >= video.path.stat().st_mtime:
        return video.name, None
    pts_s: list[float] = []
    raw, partial_path = path.with_suffix(".partial.raw"), path.with_suffix(".partial.npy")
    try:
        # Frame by frame to disk: an hour of them would not fit the memory of several processes.
        with open_video(video.path) as source, raw.open("wb") as file:
            for frame in source.frames(sample_hz=cache.sample_hz, size=cache.size):
                file.write(frame.image.tobytes())
                pts_s.append(frame.pts_s)
        np.save(_pts_path(path), np.array(pts_s, dtype=np.float64))
        np.save(partial_path, np.memmap(raw, dtype=np.uint8, mode="r").reshape(-1, cache.size, cache.size, 3))
        partial_path.replace(path)
    except VideoError as error:
        return video.name, str(error)
    finally:
        raw.unlink(missing_ok=True)
    return video.name, None
