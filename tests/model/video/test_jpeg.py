"""Snapshots of a video show the frame that was taken last."""

from pathlib import Path

import av
import numpy as np

from model.video.file_reader import open_video
from model.video.preprocess import FrameInput
from tests.support.made_videos import number_of, write_video

CENTRE_32 = FrameInput(32, "centre_crop")


def test_a_snapshot_is_the_last_frame_whole_upright_and_small(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=6, width=1280, height=720, counter_clockwise_deg=90)
    with open_video(path) as video:
        for frame in video.frames(frame_input=CENTRE_32):
            if number_of(frame.image) == 4:
                (tmp_path / "s.mjpeg").write_bytes(video.snapshot_jpeg())
                break
    snapshot = decode_jpeg(tmp_path / "s.mjpeg")
    assert snapshot.shape == (640, 360, 3)
    assert number_of(snapshot[: 640 // 2]) == 4
    assert snapshot[-20, 20, 0] > 200


def test_a_snapshot_of_each_frame_leaves_images_and_times_as_they_are(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", count=6, codec="mjpeg", pixel_format="yuvj420p")
    with open_video(path) as video:
        plain = [frame.pts_s for frame in video.frames()]
    with open_video(path) as video:
        for number, frame in enumerate(video.frames()):
            for _ in range(2):
                (tmp_path / "s.mjpeg").write_bytes(video.snapshot_jpeg())
                assert number_of(decode_jpeg(tmp_path / "s.mjpeg")) == number_of(frame.image) == number
            assert frame.pts_s == plain[number]


def decode_jpeg(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with av.open(str(path), format="mjpeg") as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")  # type: ignore[return-value]
