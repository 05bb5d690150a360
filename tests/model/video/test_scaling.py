"""Scaled frames are the same whether swscale makes planes or packed pixels."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from model.video.errors import VideoError
from model.video.scaling import Scaler

SIDES = st.integers(min_value=2, max_value=300)
FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "yuv420p10le", "gray", "rgb24", "gbrp")


def make_frame(seed: int, width: int, height: int, pixel_format: str) -> VideoFrame:
    """Large patches of colour, and noise."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3)).repeat(8, 0).repeat(8, 1)[:height, :width]
    noisy = (patches + rng.integers(-20, 21, patches.shape)).clip(0, 255).astype(np.uint8)
    return VideoReformatter().reformat(VideoFrame.from_ndarray(noisy, format="rgb24"), format=pixel_format)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 1000),
    source=st.tuples(SIDES, SIDES),
    scaled=st.tuples(SIDES, SIDES),
    kind=st.sampled_from(FORMATS),
)
def test_a_scaled_frame_equals_that_of_packed_pixels_to_the_bit(
    seed: int, source: tuple[int, int], scaled: tuple[int, int], kind: str
) -> None:
    made = make_frame(seed, *source, kind)
    try:
        packed = Scaler().scale(made, *scaled, "rgb24").to_ndarray()
    except VideoError:
        reject()  # swscale does not stretch one side so far while it shrinks the other; the product never asks for that
    np.testing.assert_array_equal(Scaler().rgb(made, *scaled), packed)
