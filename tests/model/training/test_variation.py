"""Clips shown in other ways, and streams composed of them."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.training.clips.compose import Composition, compose_streams
from model.training.clips.variation import Variation
from model.training.layouts.annotations import read_annotations
from model.training.layouts.video_lists import LabelledClip
from model.video.file_reader import open_video
from tests.support.made_videos import Pixels, write_video

COMPOSITION = Composition(passes=2, size=32, fps=10, clip_s=1.0, block_size=2, validation_share=0.5, varied=True)


def ramp(width: int, height: int) -> Pixels:
    image = np.zeros((height, width, 3), np.uint8)
    image[...] = np.linspace(0, 250, width).astype(np.uint8)[None, :, None]
    return image


@given(seed=st.integers(0, 2**32), width=st.integers(2, 90), height=st.integers(2, 90), size=st.sampled_from([32, 48]))
def test_any_variation_shows_every_frame_as_a_square(seed: int, width: int, height: int, size: int) -> None:
    variation = Variation.drawn(np.random.default_rng(seed))
    shown = variation.show([ramp(width, height)] * 3, size)
    assert [image.shape for image in shown] == [(size, size, 3)] * 3
    assert {image.dtype for image in shown} == {np.dtype(np.uint8)}
    assert np.array_equal(shown[0], shown[2])


def test_without_any_variation_a_square_stays_as_it_is() -> None:
    square = ramp(48, 48)
    assert np.array_equal(Variation().show([square], 48)[0], square)


def test_a_mirrored_clip_darkens_to_the_other_side() -> None:
    shown = Variation(mirrored=True).show([ramp(48, 48)], 48)[0][10, :, 0].astype(int)
    assert shown[2] > 200
    assert shown[45] < 50


def test_a_clip_shown_smaller_leaves_room_on_the_side_away_from_its_place() -> None:
    left = Variation(zoom=0.5, place_2=(0.0, 0.0)).show([ramp(48, 48)], 48)[0]
    assert left[5, 23, 0] > 200  # the clip ends in the middle,
    assert (left[:, 26:, 0] > 200).all()  # and its edge is continued


def test_grey_and_gains_change_the_colours_of_all_frames_equally() -> None:
    image = np.full((32, 32, 3), (200, 100, 60), np.uint8)
    assert Variation(grey=True).show([image], 32)[0][0, 0].tolist() == [120, 120, 120]
    assert Variation(gains_3=(0.5, 1.0, 1.0)).show([image], 32)[0][0, 0].tolist() == [100, 100, 60]


def test_varied_passes_show_the_same_clips_differently_for_the_same_time(tmp_path: Path) -> None:
    clips = []
    for number in range(1, 5):
        for label in ("fight", "calm"):
            path = tmp_path / f"{label}{number:03d}.mp4"
            write_video(path, width=64, height=48, count=40, rate_hz=20, draw=lambda n, w, h: ramp(w, h))
            clips.append(LabelledClip(path, label))
    out = tmp_path / "out"
    assert compose_streams(clips, out, COMPOSITION, background="calm", on_progress=lambda done, total: None) == {}
    looks = set()
    for video in read_annotations(out):
        assert video.duration_s == 4.0
        with open_video(video.path) as opened:
            looks |= {tuple(frame.image[16, ::4, 0].tolist()) for frame in opened.frames()}
    assert len(looks) >= 6
