"""Pictures that nobody takes and none leans on are not decoded, and what is taken is the same as if they were."""

from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_videos import Picture, write_video

from model.media_time import slot
from model.video import Frame, open_video


def noisy_picture(number: int, width: int, height: int) -> Picture:
    """A texture that moves, in noise of its own: damage to any picture shows in those that lean on it."""
    texture = np.random.default_rng(0).integers(0, 256, (height, 2 * width, 3), np.uint8)
    noise = np.random.default_rng(number).integers(0, 32, (height, width, 3), np.uint8)
    return texture[:, number % width : number % width + width] // 2 + noise


def write(folder: Path, name: str = "v.mp4", *, bframes: int, count: int = 48, **options: object) -> Path:
    codec_options = {"preset": "veryfast", "g": "20", "bf": str(bframes)}
    return write_video(folder / name, count=count, codec_options=codec_options, picture=noisy_picture, **options)  # type: ignore[arg-type]


def all_pictures(video: Path) -> list[Frame]:
    with open_video(video) as opened:
        return list(opened.frames(size=32))


def sampled(video: Path, sample_hz: float, after_s: float | None = None) -> tuple[list[Frame], int]:
    """What is taken, and how many pictures were decoded for it."""
    decoded: list[float] = []
    with open_video(video) as opened:
        frames = list(opened.frames(sample_hz, 32, after_s, on_picture=lambda pts_s, _: decoded.append(pts_s)))
    return frames, len(decoded)


def first_of_each_slot(pictures: list[Frame], sample_hz: float) -> list[Frame]:
    firsts: dict[int, Frame] = {}
    for picture in pictures:
        firsts.setdefault(slot(picture.pts_s, sample_hz), picture)
    return list(firsts.values())


def same(some: list[Frame], others: list[Frame]) -> bool:
    return [(f.pts_s, f.image.tobytes()) for f in some] == [(f.pts_s, f.image.tobytes()) for f in others]


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(st.integers(1, 9), min_size=20, max_size=60),
    bframes=st.integers(0, 4),
    sample_hz=st.floats(0.5, 40.0),
)
def test_what_is_taken_is_as_if_every_picture_were_decoded(steps: list[int], bframes: int, sample_hz: float) -> None:
    with TemporaryDirectory() as folder:
        pts = [0, *accumulate(steps)]
        video = write(Path(folder), bframes=bframes, count=len(pts), rate_hz=90, pts=pts)
        assert same(sampled(video, sample_hz)[0], first_of_each_slot(all_pictures(video), sample_hz))


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
def test_of_a_video_with_b_frames_a_good_part_is_not_decoded(tmp_path: Path, name: str) -> None:
    video = write(tmp_path, name, bframes=3, count=120)
    frames, decoded = sampled(video, sample_hz=10)
    assert same(frames, first_of_each_slot(all_pictures(video), sample_hz=10))
    assert decoded < 100


def test_without_b_frames_every_picture_is_decoded_as_others_lean_on_it(tmp_path: Path) -> None:
    assert sampled(write(tmp_path, bframes=0), sample_hz=10)[1] == 48


def test_a_resumed_video_goes_on_with_the_same_pictures(tmp_path: Path) -> None:
    video = write(tmp_path, bframes=3, count=120)
    whole, _ = sampled(video, sample_hz=10)
    for position in (1, 7, 20):
        assert same(sampled(video, 10, after_s=whole[position].pts_s)[0], whole[position + 1 :])


def test_fields_of_interlaced_pictures_are_all_decoded(tmp_path: Path) -> None:
    codec_options = {"preset": "veryfast", "g": "20", "bf": "3", "flags": "+ildct+ilme"}
    video = write_video(tmp_path / "v.mp4", count=48, codec_options=codec_options, picture=noisy_picture)
    assert sampled(video, sample_hz=10)[1] == 48
