"""Non-reference frames that are not taken are not decoded, and the frames that are taken stay the same."""

from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.video.file_reader import open_video
from model.video.frame import Frame
from model.video.media_time import slot
from model.video.preprocess import FrameInput
from tests.support.made_videos import Pixels, write_video

CENTRE_32 = FrameInput(32, "centre_crop")


def noisy_image(number: int, width: int, height: int) -> Pixels:
    """A moving texture with its own noise: damage to any frame shows in the frames that refer to it."""
    texture = np.random.default_rng(0).integers(0, 256, (height, 2 * width, 3), np.uint8)
    noise = np.random.default_rng(number).integers(0, 32, (height, width, 3), np.uint8)
    image: Pixels = texture[:, number % width : number % width + width] // 2 + noise
    return image


def write(folder: Path, name: str = "v.mp4", *, bframes: int, count: int = 48, **options: object) -> Path:
    codec_options = {"preset": "veryfast", "g": "20", "bf": str(bframes)}
    return write_video(folder / name, count=count, codec_options=codec_options, draw=noisy_image, **options)  # type: ignore[arg-type]


def all_frames(video: Path) -> list[Frame]:
    with open_video(video) as opened:
        return list(opened.frames(frame_input=CENTRE_32))


def sampled(video: Path, sample_hz: float, after_s: float | None = None) -> tuple[list[Frame], int]:
    """The frames that are taken, and how many frames were decoded for them."""
    decoded: list[float] = []
    with open_video(video) as opened:
        frames = list(opened.frames(sample_hz, CENTRE_32, after_s, on_frame=lambda pts_s, _: decoded.append(pts_s)))
    return frames, len(decoded)


def first_of_each_slot(frames: list[Frame], sample_hz: float) -> list[Frame]:
    firsts: dict[int, Frame] = {}
    for frame in frames:
        firsts.setdefault(slot(frame.pts_s, sample_hz), frame)
    return list(firsts.values())


def same(some: list[Frame], others: list[Frame]) -> bool:
    return [(f.pts_s, f.image.tobytes()) for f in some] == [(f.pts_s, f.image.tobytes()) for f in others]


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(st.integers(1, 9), min_size=20, max_size=60),
    bframes=st.integers(0, 4),
    sample_hz=st.floats(0.5, 40.0),
)
def test_taken_frames_are_as_if_every_frame_were_decoded(steps: list[int], bframes: int, sample_hz: float) -> None:
    with TemporaryDirectory() as folder:
        pts = [0, *accumulate(steps)]
        video = write(Path(folder), bframes=bframes, count=len(pts), rate_hz=90, pts=pts)
        assert same(sampled(video, sample_hz)[0], first_of_each_slot(all_frames(video), sample_hz))


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
def test_many_b_frames_are_not_decoded(tmp_path: Path, name: str) -> None:
    video = write(tmp_path, name, bframes=3, count=120)
    frames, decoded = sampled(video, sample_hz=10)
    assert same(frames, first_of_each_slot(all_frames(video), sample_hz=10))
    assert decoded < 100


def test_without_b_frames_every_frame_is_decoded(tmp_path: Path) -> None:
    assert sampled(write(tmp_path, bframes=0), sample_hz=10)[1] == 48


def test_a_resumed_video_continues_with_the_same_frames(tmp_path: Path) -> None:
    video = write(tmp_path, bframes=3, count=120)
    whole, _ = sampled(video, sample_hz=10)
    for position in (1, 7, 20):
        assert same(sampled(video, 10, after_s=whole[position].pts_s)[0], whole[position + 1 :])


def test_fields_of_interlaced_frames_are_all_decoded(tmp_path: Path) -> None:
    codec_options = {"preset": "veryfast", "g": "20", "bf": "3", "flags": "+ildct+ilme"}
    video = write_video(tmp_path / "v.mp4", count=48, codec_options=codec_options, draw=noisy_image)
    assert sampled(video, sample_hz=10)[1] == 48
