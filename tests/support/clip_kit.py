"""Helpers for the tests of clips: clips, frame by frame."""

import io
from pathlib import Path

import av
import numpy as np

from model.video.file_reader import FileReader
from model.video.packets import PacketReader
from model.video.part import VideoPart
from tests.support.made_videos import Pixels, number_of


def frames_of_clip(clip: bytes, from_s: float = 0.0) -> list[tuple[float, int]]:
    """For each frame of a clip its media time and its number; `from_s` is the time of the first one."""
    return [(time_s, number_of(image)) for time_s, image in images_of_clip(clip, from_s)]


def images_of_clip(clip: bytes, from_s: float) -> list[tuple[float, Pixels]]:
    """For each frame of a clip its media time and its image; `from_s` is the time of the first one."""
    with av.open(io.BytesIO(clip), "r") as container:
        frames = list(container.decode(video=0))
    first = frames[0].time or 0.0
    return [(round(from_s + (frame.time or 0.0) - first, 3), _image(frame)) for frame in frames]


def images_of_video(video: Path) -> list[Pixels]:
    """Every frame of the file, in order."""
    with av.open(str(video)) as container:
        return [_image(frame) for frame in container.decode(video=0)]


def number_of_still(jpeg: bytes) -> int:
    """The number of the frame that a JPEG shows."""
    with av.open(io.BytesIO(jpeg), "r", format="mjpeg") as container:
        return _number_of_frame(next(container.decode(video=0)))


def _number_of_frame(frame: av.VideoFrame) -> int:
    return number_of(_image(frame))


def _image(frame: av.VideoFrame) -> Pixels:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def clip_of(video: Path, from_s: float, to_s: float) -> list[tuple[float, int]]:
    """The frames of a clip of this part: media time in seconds, and number."""
    sink = io.BytesIO()
    with PacketReader(str(video)) as packets:
        (starts_at_s,) = VideoPart(packets, FileReader(packets)).write_clip(from_s, to_s, sink)
    return frames_of_clip(sink.getvalue(), starts_at_s)


def still_of(video: Path, at_s: float) -> int:
    """The number of the frame that a still at this media time shows."""
    with PacketReader(str(video)) as packets:
        return number_of_still(VideoPart(packets, FileReader(packets)).still_jpeg(at_s, 640))
