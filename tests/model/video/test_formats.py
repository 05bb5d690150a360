"""Files of less common formats are read; still images are rejected; a wrong file name does not matter."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from model.video.errors import VideoError
from model.video.file_reader import open_video
from tests.support.made_videos import number_of, write_video

COUNT, RATE_HZ = 25, 25
NO_B_FRAMES = {"preset": "ultrafast", "g": "10", "bf": "0"}


def dahua(folder: Path) -> Path:
    """H.264 as a Dahua recorder exports it: each frame with a header that holds the date and milliseconds."""
    source, path = (
        write_video(folder / "v.h264", count=COUNT, rate_hz=RATE_HZ, codec_options=NO_B_FRAMES),
        folder / "v.dav",
    )
    with av.open(str(source)) as container, path.open("wb") as file:
        for number, packet in enumerate(p for p in container.demux(video=0) if p.size):
            data, at_ms = bytes(packet), number * 1000 // RATE_HZ
            date = (26 << 26) | (11 << 22) | (29 << 17) | (10 << 12) | (at_ms // 1000)
            details = bytes([0x80, 0, 160 // 8, 120 // 8, 0x81, 0, 2, RATE_HZ])
            length = 24 + len(details) + len(data) + 8
            kind = 0xFD if packet.is_keyframe else 0xFC
            fields = struct.pack("<IIIHB", number, length, date, at_ms & 0xFFFF, len(details))
            header = b"DHAV" + bytes([kind, 0, 0, 0]) + fields
            file.write(header + bytes([sum(header) & 255]) + details + data + b"dhav" + struct.pack("<I", length))
    return path


def motion_jpeg(folder: Path) -> Path:
    options = {"qmin": "2", "qmax": "3"}
    return write_video(
        folder / "v.mjpeg", count=COUNT, rate_hz=RATE_HZ, codec="mjpeg", pixel_format="yuvj420p", codec_options=options
    )


def gif(folder: Path) -> Path:
    return write_video(folder / "v.gif", count=COUNT, rate_hz=RATE_HZ, codec="gif", pixel_format="gray")


def apng(folder: Path) -> Path:
    return write_video(folder / "v.apng", count=COUNT, rate_hz=RATE_HZ, codec="apng", pixel_format="rgb24")


def ivf(folder: Path) -> Path:
    return write_video(folder / "v.ivf", count=COUNT, rate_hz=RATE_HZ, codec="libvpx", codec_options={"b": "2M"})


def wtv(folder: Path) -> Path:
    return write_video(folder / "v.wtv", count=COUNT, rate_hz=RATE_HZ, codec="mpeg2video", codec_options={"b": "2M"})


def dv(folder: Path) -> Path:
    return broadcast(folder / "v.dv", "dvvideo", {})


def gxf(folder: Path) -> Path:
    return broadcast(folder / "v.gxf", "mpeg2video", {"g": "12", "b": "8M"})


def broadcast(path: Path, codec: str, options: dict[str, str]) -> Path:
    return write_video(path, width=720, height=576, count=COUNT, rate_hz=RATE_HZ, codec=codec, codec_options=options)


def raw_h264(folder: Path) -> Path:
    return write_video(folder / "v.h264", count=COUNT, rate_hz=RATE_HZ)


def misnamed(folder: Path) -> Path:
    path = write_video(folder / "v.mpg", count=COUNT, rate_hz=RATE_HZ, codec="mpeg2video", codec_options={"b": "2M"})
    return path.rename(folder / "v.jpg")


@pytest.mark.parametrize("make", [dahua, motion_jpeg, gif, apng, ivf, wtv, dv, gxf, raw_h264, misnamed])
def test_every_frame_is_read_at_its_time(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with open_video(make(tmp_path)) as video:
        frames = list(video.frames())
        assert video.info.rate_hz == pytest.approx(RATE_HZ, rel=0.05)
        assert video.warnings == []
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    np.testing.assert_allclose([f.pts_s for f in frames], np.arange(COUNT) / RATE_HZ, atol=0.021)


@pytest.mark.parametrize(("name", "codec", "pixel_format"), [("i.gif", "gif", "gray"), ("i.apng", "apng", "rgb24")])
def test_an_animation_of_one_frame_is_not_a_video(tmp_path: Path, name: str, codec: str, pixel_format: str) -> None:
    path = write_video(tmp_path / name, count=1, codec=codec, pixel_format=pixel_format)
    with pytest.raises(VideoError) as caught:
        open_video(path)
    assert caught.value.code == "source_unsupported"


def test_a_raw_stream_states_the_rate_of_its_frames(tmp_path: Path) -> None:
    with open_video(write_video(tmp_path / "v.h264", count=30, rate_hz=15)) as video:
        assert video.info.rate_hz == pytest.approx(15)


def test_an_edit_list_that_hides_every_frame_is_ignored(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=COUNT, rate_hz=RATE_HZ, codec_options=NO_B_FRAMES)
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12
    content[at : at + 4] = bytes(4)  # the duration of the only edit
    path.write_bytes(content)
    with open_video(path) as video:
        assert [number_of(frame.image) for frame in video.frames()] == list(range(COUNT))
