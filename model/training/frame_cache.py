"""Videos decoded once into small frames on disk.

Shapes: T frames, S pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.atomic import write_atomically, write_text_atomically
from model.config import ModelConfig
from model.training.layouts.annotations import DataError, LabelledVideo
from model.training.pool import results_of
from model.training.progress import Progress
from model.video.errors import VideoError
from model.video.file_reader import open_video
from model.video.preprocess import WHOLE_FRAME, FrameInput, Framing

# Annotated and decoded durations that differ by less count as equal: tools round them, and sound may be longer.
DURATION_TOLERANCE_S = 1.0


@dataclass(frozen=True)
class Frames:
    """Sampled frames of one video, memory-mapped from the cache."""

    images_TSS3: NDArray[np.uint8]
    pts_s_T: NDArray[np.float64]


@dataclass(frozen=True)
class FrameCache:
    """`sample_hz` frames a second of each video, as squares of `size` pixels made as `framing` says, in `folder`."""

    folder: Path
    sample_hz: float
    size: int
    framing: Framing

    @classmethod
    def as_served(cls, folder: Path, config: ModelConfig) -> FrameCache:
        """The cache of the frames that a detector of this configuration gets when it is served."""
        return cls(folder, config.sample_hz, config.image_size, config.framing)

    def fill(self, videos: Sequence[LabelledVideo], processes: int, progress: Progress) -> dict[str, str]:
        """Decode each video, unless it is cached already.

        Returns the videos that do not decode, with the reason; they are left out, never replaced by black frames.
        `progress` gets a warning for each video that decodes with damage, is cut short, or has another duration than
        its annotation states; also for those that are already cached.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        failures: dict[str, str] = {}
        missing = sum(not self.path(video).is_file() for video in videos)
        decoded = results_of(partial(_decode, self), videos, min(processes, missing))
        for done, (name, reason, warnings) in enumerate(decoded, start=1):
            if reason is not None:
                failures[name] = reason
            for warning in warnings:
                progress.on_warning(f"{name}: {warning}")
            progress.on_item(done, len(videos))
        return failures

    def path(self, video: LabelledVideo) -> Path:
        """Where its frames are. The name includes the identity of file and region, so that another file with the same
        name, a replaced file or another region has separate frames and separate derived files.

        Raises:
            DataError: the video is no longer there.
        """
        identity = hashlib.sha256(video_identity(video).encode()).hexdigest()[:12]
        return self.folder / f"{video.name}.{identity}.{self.size}px.{self.framing}.{self.sample_hz:g}hz.npy"

    def load(self, video: LabelledVideo) -> Frames:
        """The cached frames of a video, memory-mapped; `fill` must have decoded it."""
        return Frames(np.load(self.path(video), mmap_mode="r"), self.load_pts_s(video))

    def load_pts_s(self, video: LabelledVideo) -> NDArray[np.float64]:
        """The frames' times (T,)."""
        pts_s_T: NDArray[np.float64] = np.load(_pts_path(self.path(video)))
        return pts_s_T


def file_identity(path: Path) -> str:
    """A fingerprint that changes when a file is replaced: its size and its time of modification.

    Raises:
        DataError: it is no longer there.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read any more: {error.strerror}") from error
    return f"{found.st_size} {found.st_mtime_ns}"


def video_identity(video: LabelledVideo) -> str:
    """A fingerprint that changes when the file or the region of a video changes. Raises DataError."""
    identity = file_identity(video.path)
    return identity if video.region == WHOLE_FRAME else f"{identity} {video.region}"


def _pts_path(frames: Path) -> Path:
    return frames.with_suffix(".pts.npy")


def _warnings_path(frames: Path) -> Path:
    return frames.with_suffix(".warnings.json")


def _decode(cache: FrameCache, video: LabelledVideo) -> tuple[str, str | None, list[str]]:
    """Return the name of the video, why it does not decode, and warnings about it if it does."""
    path = cache.path(video)
    if not path.is_file():
        try:
            _write_frames(cache, video, path)
        except VideoError as error:
            return video.name, str(error), []
    warnings: list[str] = json.loads(_warnings_path(path).read_text()) if _warnings_path(path).is_file() else []
    decoded_s = float(cache.load_pts_s(video)[-1]) + 1.0 / cache.sample_hz
    if video.duration_s > 0 and abs(decoded_s - video.duration_s) > DURATION_TOLERANCE_S:
        warnings.append(f"It decodes to {decoded_s:.1f} s, but its annotation states {video.duration_s:.1f} s.")
    return video.name, None, warnings


def _write_frames(cache: FrameCache, video: LabelledVideo, path: Path) -> None:
    """Write the frames, their times and the warnings of a video. Raises VideoError."""
    pts_s: list[float] = []
    raw = path.with_suffix(".partial.raw")
    try:
        # Frame by frame to disk, since an hour of frames would not fit into the memory of several processes.
        with open_video(video.path) as source, raw.open("wb") as file:
            for frame in source.frames(cache.sample_hz, FrameInput(cache.size, cache.framing, video.region)):
                file.write(frame.image.tobytes())
                pts_s.append(frame.pts_s)
            warnings = source.warnings + source.notes
        write_text_atomically(_warnings_path(path), json.dumps(warnings))
        with write_atomically(_pts_path(path)) as partial_path:
            np.save(partial_path, np.array(pts_s, dtype=np.float64))
        with write_atomically(path) as partial_path:
            np.save(partial_path, np.memmap(raw, dtype=np.uint8, mode="r").reshape(-1, cache.size, cache.size, 3))
    finally:
        raw.unlink(missing_ok=True)
