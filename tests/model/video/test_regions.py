"""A region of the displayed frame reaches the network as if the video had been cut to it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.video.file_reader import open_video
from model.video.preprocess import WHOLE_FRAME, FrameInput, Framing, Region
from tests.support.made_videos import Pixels, write_video

WIDTH, HEIGHT = 320, 160
# Left, top, width, height in pixels.
QUARTERS = {"red": (0, 0), "green": (160, 0), "blue": (0, 80), "white": (160, 80)}
COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220), "white": (220, 220, 220)}


def quarters(_number: int, width: int, height: int) -> Pixels:
    image = np.zeros((height, width, 3), np.uint8)
    for name, (left, top) in QUARTERS.items():
        image[top : top + height // 2, left : left + width // 2] = COLOURS[name]
    return image


def quarter(x: float, y: float, framing: Framing = "stretch") -> FrameInput:
    return FrameInput(32, framing, Region(x, y, 0.5, 0.5))


def images_of(path: Path, *inputs: FrameInput) -> list[Pixels]:
    with open_video(path) as opened:
        return list(next(opened.frames(10.0, inputs)).images)


def is_only(image: Pixels, colour: str) -> bool:
    return bool(np.abs(image.astype(int) - COLOURS[colour]).max() < 30)


@pytest.mark.parametrize("framing", ["stretch", "centre_crop"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "gbrp"])
def test_each_region_gives_a_separate_image(tmp_path: Path, framing: Framing, pixel_format: str) -> None:
    codec = "libx264rgb" if pixel_format == "gbrp" else "libx264"
    form = "bgr0" if pixel_format == "gbrp" else pixel_format
    path = write_video(
        tmp_path / "q.mkv", width=WIDTH, height=HEIGHT, count=2, codec=codec, pixel_format=form, draw=quarters
    )
    inputs = [quarter(0.5, 0.5, framing), quarter(0, 0, framing), FrameInput(32, framing)]
    white, red, whole = images_of(path, *inputs)
    assert white.shape == red.shape == whole.shape == (32, 32, 3)
    assert is_only(white, "white")
    assert is_only(red, "red")
    assert not is_only(whole, "white")


@pytest.mark.parametrize(
    ("counter_clockwise_deg", "upper_left"), [(0, "red"), (90, "green"), (180, "white"), (-90, "blue")]
)
def test_regions_are_those_of_the_rotated_frame(tmp_path: Path, counter_clockwise_deg: int, upper_left: str) -> None:
    path = write_video(
        tmp_path / "r.mp4",
        width=WIDTH,
        height=HEIGHT,
        count=2,
        draw=quarters,
        counter_clockwise_deg=counter_clockwise_deg,
    )
    (image,) = images_of(path, quarter(0, 0))
    assert is_only(image, upper_left)


def test_a_region_gives_the_same_result_as_a_video_cropped_to_it(tmp_path: Path) -> None:
    def noise(number: int, width: int, height: int) -> Pixels:
        return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)

    def cut(number: int, width: int, height: int) -> Pixels:
        return noise(number, 320, 160)[40 : 40 + height, 80 : 80 + width]

    lossless = {"codec": "ffv1", "codec_options": {}, "pixel_format": "bgr0", "count": 1}
    whole = write_video(tmp_path / "w.mkv", width=320, height=160, draw=noise, **lossless)  # type: ignore[arg-type]
    part = write_video(tmp_path / "p.mkv", width=120, height=60, draw=cut, **lossless)  # type: ignore[arg-type]
    for framing in ("stretch", "centre_crop"):
        (expected,) = images_of(part, FrameInput(32, framing))
        region = Region(80 / 320, 40 / 160, 120 / 320, 60 / 160)
        (image,) = images_of(whole, FrameInput(32, framing, region))
        np.testing.assert_array_equal(image, expected)


def test_a_region_stays_in_place_when_the_size_of_the_frames_changes(tmp_path: Path) -> None:
    for name, width in (("a.ts", 320), ("b.ts", 160)):
        write_video(tmp_path / name, width=width, height=160, count=12, draw=quarters_of_any_size)
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    with open_video(joined) as opened:
        images = [frame.image for frame in opened.frames(10.0, quarter(0.5, 0.5))]
    assert len(images) >= 7
    assert all(is_only(image, "white") for image in images)


def quarters_of_any_size(number: int, width: int, height: int) -> Pixels:
    return quarters(number, WIDTH, HEIGHT)[:, :: WIDTH // width]


fractions = st.floats(0.0, 0.99)


@given(fractions, fractions, st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.integers(1, 8192), st.integers(1, 8192))
def test_a_region_lies_inside_the_frame_and_is_never_empty(
    x: float, y: float, wide: float, high: float, width: int, height: int
) -> None:
    region = Region(x, y, min(wide, 1 - x), min(high, 1 - y))
    left, top, cut_width, cut_height = region.pixels(width, height)
    assert 0 <= left < left + cut_width <= width
    assert 0 <= top < top + cut_height <= height


def test_the_network_sees_the_centre_square_of_a_region_or_all_of_it() -> None:
    region = Region(0.5, 0.25, 0.5, 0.5)
    assert FrameInput(96, "stretch", region).seen(1280, 720) == region
    seen = FrameInput(96, "centre_crop", region).seen(1280, 720)
    assert (seen.width * 1280, seen.height * 720) == pytest.approx((360, 360))
    assert (seen.x + seen.width / 2, seen.y + seen.height / 2) == pytest.approx((0.75, 0.5))


def test_a_region_warns_of_what_is_missed_and_when_it_is_too_small() -> None:
    assert FrameInput(96, "stretch", Region(0, 0, 0.1, 0.1)).warnings(1280, 720, "m", "door") == []
    (cropped,) = FrameInput(96, "centre_crop", Region(0, 0, 0.5, 0.5)).warnings(1280, 720, "m", "door")
    assert "the region door" in cropped
    assert "56%" in cropped
    (small,) = FrameInput(96, "stretch", Region(0, 0, 0.02, 0.1)).warnings(1280, 720, "m", "door")
    assert "26 x 72 pixels" in small
    assert FrameInput(96, "stretch", WHOLE_FRAME).warnings(16, 16, "m") == []
