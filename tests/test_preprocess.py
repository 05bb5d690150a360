"""The path from picture to network input is one rule, shared by training and serving."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.preprocess import MAX_ASPECT, center_crop, normalise, scaled_size

sides = st.integers(min_value=1, max_value=20_000)
sizes = st.integers(min_value=1, max_value=256)


@given(sides, sides, sizes)
def test_the_short_side_becomes_the_size_and_the_aspect_is_kept(width: int, height: int, size: int) -> None:
    scaled_width, scaled_height = scaled_size(width, height, size)
    assert min(scaled_width, scaled_height) == size
    aspect = min(max(width, height) / min(width, height), MAX_ASPECT)
    assert abs(max(scaled_width, scaled_height) - aspect * size) <= 0.5
    assert (scaled_width >= scaled_height) == (width >= height) or scaled_width == scaled_height


@given(sides, sides, sizes)
def test_a_scaled_picture_never_costs_more_than_eight_squares(width: int, height: int, size: int) -> None:
    scaled_width, scaled_height = scaled_size(width, height, size)
    assert scaled_width * scaled_height <= MAX_ASPECT * size * size


def test_a_picture_without_area_cannot_be_scaled() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        scaled_size(0, 10, 160)


@given(st.integers(1, 40), st.integers(0, 30), st.integers(0, 30))
def test_the_crop_is_the_middle(size: int, extra_width: int, extra_height: int) -> None:
    height, width = size + extra_height, size + extra_width
    image = np.zeros((height, width, 3), np.uint8)
    image[extra_height // 2 : extra_height // 2 + size, extra_width // 2 : extra_width // 2 + size] = 255
    cropped = center_crop(image, size)
    assert cropped.shape == (size, size, 3)
    assert cropped.min() == 255


def test_a_picture_smaller_than_the_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="scale the picture first"):
        center_crop(np.zeros((10, 20, 3), np.uint8), 16)


def test_normalising_keeps_the_channel_order_and_uses_the_networks_mean_and_deviation() -> None:
    images = np.zeros((2, 4, 5, 3), np.uint8)
    images[..., 0], images[..., 1], images[..., 2] = 0, 255, 51
    planes = normalise(images)
    assert planes.shape == (2, 3, 4, 5)
    assert planes.dtype == np.float32
    assert planes.flags.c_contiguous
    for channel, value in enumerate((0.0, 1.0, 0.2)):
        np.testing.assert_allclose(planes[:, channel], (value - 0.45) / 0.225, atol=1e-6)
