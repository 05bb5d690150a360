"""The detector and people see frames as FFmpeg's autorotation shows them, in their display aspect ratio."""

import struct
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from model.video.display import MAX_PIXEL_ASPECT, Orientation, square_pixel_size
from model.video.file_reader import open_video
from model.video.preprocess import FrameInput
from model.video.scaling import Scaler
from tests.model.video.test_jpeg import decode_jpeg
from tests.support.made_videos import Pixels, write_video

WIDTH, HEIGHT = 160, 120
# The numbers a, b, c, d of a display matrix, the clockwise rotation, and whether frames are mirrored first.
ORIENTATIONS = {
    (1, 0, 0, 1): (0, False),
    (0, 1, -1, 0): (90, False),
    (-1, 0, 0, -1): (180, False),
    (0, -1, 1, 0): (270, False),
    (-1, 0, 0, 1): (0, True),
    (0, -1, -1, 0): (90, True),
    (1, 0, 0, -1): (180, True),
    (0, 1, 1, 0): (270, True),
}


def corners(number: int, width: int, height: int) -> Pixels:
    """A different colour in each corner."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (200, 30, 30)
    image[: height // 2, width // 2 :] = (30, 200, 30)
    image[height // 2 :, : width // 2] = (30, 30, 200)
    image[height // 2 :, width // 2 :] = (200, 200, 30)
    return image


def with_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Set the display matrix in the track header of an MP4 file."""
    a, b, c, d = matrix
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", *(65536 * n for n in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    path.write_bytes(content)
    return path


def shown_by_ffmpeg(path: Path, width: int, height: int) -> Pixels:
    """The first frame as the ffmpeg command shows it."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def difference(some: Pixels, other: Pixels) -> float:
    return float(np.abs(some.astype(int) - other).mean())


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_all_display_matrices_are_applied_as_ffmpeg_does(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = with_matrix(write_video(tmp_path / "v.mp4", count=2, draw=corners), matrix)
    with open_video(path) as video:
        info, image = video.info, next(video.frames()).image
        (tmp_path / "s.mjpeg").write_bytes(video.snapshot_jpeg())
    assert (info.rotation_deg, info.mirrored) == ORIENTATIONS[matrix]
    expected = shown_by_ffmpeg(path, info.width, info.height)
    assert difference(image, expected) < 4
    assert difference(decode_jpeg(tmp_path / "s.mjpeg"), expected) < 6
    with open_video(path) as video:
        square = next(video.frames(frame_input=FrameInput(64, "stretch"))).image
    shrunk = Scaler().rgb(VideoFrame.from_ndarray(expected, format="rgb24"), 64, 64)
    assert difference(square, shrunk) < 6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_frames_with_oblong_pixels_are_shown_in_their_aspect_ratio(tmp_path: Path, suffix: str) -> None:
    codec_options = {"preset": "ultrafast", "x264-params": "sar=64\\:45"}
    path = write_video(tmp_path / f"v{suffix}", width=720, height=576, count=2, codec_options=codec_options)
    with open_video(path) as video:
        assert (video.info.width, video.info.height) == (1024, 576)
        assert next(video.frames()).image.shape == (576, 1024, 3)
        (tmp_path / "s.mjpeg").write_bytes(video.snapshot_jpeg())
    assert decode_jpeg(tmp_path / "s.mjpeg").shape == (360, 640, 3)


def test_a_rotated_video_with_oblong_pixels_is_widened_before_it_is_rotated(tmp_path: Path) -> None:
    codec_options = {"preset": "ultrafast", "x264-params": "sar=2\\:1"}
    path = write_video(tmp_path / "v.mp4", count=2, codec_options=codec_options)
    with open_video(with_matrix(path, (0, 1, -1, 0))) as video:
        assert (video.info.width, video.info.height) == (HEIGHT, 2 * WIDTH)
        assert next(video.frames()).image.shape == (2 * WIDTH, HEIGHT, 3)


def test_an_absurd_pixel_aspect_is_ignored() -> None:
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for absurd in (None, Fraction(0), Fraction(1, 9), Fraction(MAX_PIXEL_ASPECT + 1)):
        assert square_pixel_size(frame, absurd) == (WIDTH, HEIGHT)
    assert square_pixel_size(frame, Fraction(1, 2)) == (WIDTH // 2, HEIGHT)


@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("mirrors_x", [False, True])
@pytest.mark.parametrize("mirrors_y", [False, True])
def test_mirroring_and_rotation_describe_the_orientation(is_transposed: bool, mirrors_x: bool, mirrors_y: bool) -> None:
    orientation = Orientation(is_transposed, mirrors_x, mirrors_y)
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    mirrored = image[:, ::-1] if orientation.is_mirrored else image
    described = np.rot90(mirrored, -orientation.rotation_deg // 90)
    np.testing.assert_array_equal(orientation.upright(image), described)
