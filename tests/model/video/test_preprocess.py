"""The path from frame to network input is one rule, shared by training and serving."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.video.file_reader import open_video
from model.video.preprocess import MAX_ASPECT, FrameInput, Framing, Region, normalise
from tests.support.made_videos import Pixels, write_video

sides = st.integers(min_value=1, max_value=20_000)
sizes = st.integers(min_value=1, max_value=256)


@given(sides, sides, sizes)
def test_the_short_side_becomes_the_size_and_the_aspect_is_kept(width: int, height: int, size: int) -> None:
    scaled_width, scaled_height = FrameInput(size, "centre_crop").scaled_size(width, height)
    assert min(scaled_width, scaled_height) == size
    aspect = min(max(width, height) / min(width, height), MAX_ASPECT)
    assert abs(max(scaled_width, scaled_height) - aspect * size) <= 0.5
    assert (scaled_width >= scaled_height) == (width >= height) or scaled_width == scaled_height


@given(sides, sides, sizes)
def test_a_scaled_frame_never_costs_more_than_eight_squares(width: int, height: int, size: int) -> None:
    scaled_width, scaled_height = FrameInput(size, "centre_crop").scaled_size(width, height)
    assert scaled_width * scaled_height <= MAX_ASPECT * size * size


@given(sides, sides, sizes)
def test_a_stretched_frame_becomes_a_square_with_all_of_its_pixels(width: int, height: int, size: int) -> None:
    whole = FrameInput(size, "stretch")
    assert whole.scaled_size(width, height) == (size, size)
    image = np.arange(size * size * 3, dtype=np.uint8).reshape(size, size, 3)
    np.testing.assert_array_equal(whole.crop(image), image)


@pytest.mark.parametrize(("framing", "is_seen"), [("stretch", True), ("centre_crop", False)])
@pytest.mark.parametrize("left", [0, 854 - 40])
def test_only_a_stretched_frame_shows_what_happens_at_the_edge(
    tmp_path: Path, framing: Framing, is_seen: bool, left: int
) -> None:
    def at_the_edge(_number: int, width: int, height: int) -> Pixels:
        image = np.zeros((height, width, 3), np.uint8)
        image[200:280, left : left + 40] = 255
        return image

    path = write_video(tmp_path / "edge.mp4", width=854, height=480, count=3, draw=at_the_edge)
    with open_video(path) as opened:
        frame = next(opened.frames(10.0, FrameInput(96, framing)))
    assert frame.image.shape == (96, 96, 3)
    assert (frame.image.max() > 200) == is_seen


@given(sides, sides)
def test_the_seen_region_is_the_centre_square_or_the_whole_frame(width: int, height: int) -> None:
    assert FrameInput(96, "stretch").seen(width, height) == Region(0.0, 0.0, 1.0, 1.0)
    assert FrameInput(96, "stretch").warnings(width, height, "m") == []
    seen = FrameInput(96, "centre_crop").seen(width, height)
    assert seen.width * width == pytest.approx(seen.height * height)
    assert max(seen.width, seen.height) == 1.0
    assert 2 * seen.x + seen.width == pytest.approx(1.0)
    assert 2 * seen.y + seen.height == pytest.approx(1.0)


@pytest.mark.parametrize(("width", "height", "share"), [(1280, 720, "56%"), (480, 640, "75%"), (100, 101, None)])
def test_a_centre_crop_warns_of_what_it_misses(width: int, height: int, share: str | None) -> None:
    warnings = FrameInput(96, "centre_crop").warnings(width, height, "mocap")
    assert len(warnings) == (share is not None)
    assert share is None or (share in warnings[0] and "mocap" in warnings[0])


@pytest.mark.parametrize("framing", get_args(Framing))
def test_a_frame_without_area_cannot_be_scaled(framing: Framing) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        FrameInput(160, framing).scaled_size(0, 10)


@given(st.integers(1, 40), st.integers(0, 30), st.integers(0, 30))
def test_the_crop_is_the_middle(size: int, extra_width: int, extra_height: int) -> None:
    height, width = size + extra_height, size + extra_width
    image = np.zeros((height, width, 3), np.uint8)
    image[extra_height // 2 : extra_height // 2 + size, extra_width // 2 : extra_width // 2 + size] = 255
    cropped = FrameInput(size, "centre_crop").crop(image)
    assert cropped.shape == (size, size, 3)
    assert cropped.min() == 255


def test_an_image_smaller_than_the_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="scale the frame first"):
        FrameInput(16, "centre_crop").crop(np.zeros((10, 20, 3), np.uint8))


def test_normalising_keeps_the_channel_order_and_uses_the_networks_mean_and_deviation() -> None:
    images = np.zeros((2, 4, 5, 3), np.uint8)
    images[..., 0], images[..., 1], images[..., 2] = 0, 255, 51
    planes = normalise(images)
    assert planes.shape == (2, 3, 4, 5)
    assert planes.dtype == np.float32
    assert planes.flags.c_contiguous
    for channel, value in enumerate((0.0, 1.0, 0.2)):
        np.testing.assert_allclose(planes[:, channel], (value - 0.45) / 0.225, atol=1e-6)
