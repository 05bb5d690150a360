"""The best of several video streams is analysed, the others are reported, and callers may choose."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from model.video.errors import VideoError
from model.video.file_reader import FileReader, open_video
from model.video.packets import PacketReader
from tests.support.made_videos import number_of, numbered_image, write_video


@dataclass(frozen=True)
class Track:
    """A video stream to write: which of COUNT frames it has, its size and whether it is marked as default."""

    frames: range
    width: int = 64
    codec: str = "libx264"
    is_default: bool = False


COUNT, RATE_HZ = 40, 20
MAIN = Track(range(COUNT), width=160)
STILL, PREVIEW = Track(range(1), codec="mjpeg"), Track(range(0, COUNT, 20))


def write(path: Path, *tracks: Track) -> Path:
    """Write video streams side by side."""
    with av.open(str(path), "w") as container:
        streams = []
        for track in tracks:
            options = {"preset": "ultrafast", "bf": "0"} if track.codec == "libx264" else {}
            stream = container.add_stream(track.codec, rate=RATE_HZ, options=options)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = track.width, 48
            stream.pix_fmt = "yuv420p" if track.codec == "libx264" else "yuvj420p"
            stream.disposition = Disposition.default if track.is_default else Disposition(0)
            streams.append(stream)
        for number in range(COUNT):
            for track, stream in zip(tracks, streams, strict=True):
                if number in track.frames:
                    frame = av.VideoFrame.from_ndarray(numbered_image(number, track.width, 48), format="rgb24")
                    frame.pts = number
                    container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return path


def without_pid(path: Path, pid: int) -> Path:
    """Remove all packets of a stream from a transport stream, which still announces it."""
    content = path.read_bytes()
    packets = [content[at : at + 188] for at in range(0, len(content), 188)]
    path.write_bytes(b"".join(p for p in packets if (p[1] & 31) << 8 | p[2] != pid))
    return path


def marked(track: Track) -> Track:
    return Track(track.frames, track.width, track.codec, is_default=True)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: write(folder / "v.mkv", STILL, marked(MAIN)),
        lambda folder: write(folder / "v.mkv", PREVIEW, marked(MAIN)),
        lambda folder: write(folder / "v.mkv", marked(STILL), marked(MAIN)),
        lambda folder: write(folder / "v.mkv", STILL, MAIN),
        lambda folder: write(folder / "v.mp4", STILL, MAIN),
        lambda folder: write(folder / "v.mkv", MAIN, Track(range(COUNT), width=320)),
        lambda folder: without_pid(write(folder / "v.ts", Track(range(0, COUNT, 4)), MAIN), 0x100),
    ],
    ids=["default after still", "default after preview", "both default", "neither", "mp4", "first of two", "empty PID"],
)
def test_the_stream_that_shows_the_video_is_chosen(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with open_video(make(tmp_path)) as video:
        frames = list(video.frames())
        assert (video.info.width, len(frames)) == (160, COUNT)
        assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
        assert video.warnings == []
        assert video.notes[0].startswith("The source has 2 video streams. Only stream ")
        assert "(160 x 48)" in video.notes[0]


@pytest.mark.parametrize(("stream", "width"), [(0, 160), (1, 320)])
def test_a_caller_may_choose_a_stream(tmp_path: Path, stream: int, width: int) -> None:
    path = write(tmp_path / "v.mkv", MAIN, Track(range(COUNT), width=320))
    with open_video(path, stream=stream) as video:
        assert len(list(video.frames())) == COUNT
        assert video.info.width == width


def test_a_stream_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no video stream 2") as caught:
        open_video(write(tmp_path / "v.mkv", MAIN, PREVIEW), stream=2)
    assert caught.value.code == "no_video_stream"


def test_a_video_with_one_stream_has_no_note(tmp_path: Path) -> None:
    with open_video(write(tmp_path / "v.mp4", MAIN)) as video:
        assert len(list(video.frames())) == COUNT
        assert video.notes == []


def test_the_frames_of_a_resumed_decode_come_from_the_same_stream(tmp_path: Path) -> None:
    path = write(tmp_path / "v.ts", PREVIEW, MAIN)
    with open_video(path, stream=1) as video:
        whole = [frame.pts_s for frame in video.frames()]
    with open_video(path, stream=1) as video:
        rest = list(video.frames(after_s=whole[20]))
    assert [frame.pts_s for frame in rest] == whole[21:]
    assert all(frame.image.shape == (48, 160, 3) for frame in rest)
    np.testing.assert_allclose(whole, np.arange(COUNT) / RATE_HZ, atol=1e-3)


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video", "libx265"])
def test_a_pushed_transport_stream_has_the_rate_of_its_frames(tmp_path: Path, codec: str) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"g": "10"}
    path = write_video(tmp_path / "v.ts", count=30, rate_hz=25, codec=codec, codec_options=options)
    with FileReader(PacketReader(io.BytesIO(path.read_bytes()))) as video:
        assert video.info.rate_hz == 25.0
