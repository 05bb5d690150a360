"""Scaled pictures are the same whichever way swscale takes to them."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from model.container import VideoError
from model.scaling import Scaler

SIDES = st.integers(min_value=2, max_value=300)
FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "yuv420p10le", "gray", "rgb24", "gbrp")


def picture(seed: int, width: int, height: int, pixel_format: str) -> VideoFrame:
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
def test_a_scaled_picture_is_that_of_packed_pixels_to_the_bit(
    seed: int, source: tuple[int, int], scaled: tuple[int, int], kind: str
) -> None:
    made = picture(seed, *source, kind)
    try:
        packed = Scaler().scale(made, *scaled, "rgb24").to_ndarray()
    except VideoError:
        reject()  # swscale stretches no side so far while it shrinks the other; no picture is asked for so
    np.testing.assert_array_equal(Scaler().upright_rgb(made, *scaled), packed)
