"""A transport stream may change its streams on the way: other numbers, other tables, sound that begins later."""

import gc
import itertools
import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from av.container import InputContainer

from model.video.errors import VideoError
from model.video.file_reader import open_video
from model.video.packets import INTERRUPTED, PacketReader
from tests.support.made_videos import Pixels, number_of, write_video

LATER = {
    "another number for the video": ["-mpegts_start_pid", "0x200"],
    "another number for the video and its table": ["-mpegts_start_pid", "0x200", "-mpegts_pmt_start_pid", "0x1001"],
    "sound that begins later": [],
}


def part(video: Path, target: Path, options: list[str], *, with_sound: bool = False) -> bytes:
    """`video` as a transport stream."""
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=4", "-map", "0:v", "-map", "1:a", "-c:a", "aac"]
    command = ["ffmpeg", "-loglevel", "error", "-y", "-i", str(video), *(sound if with_sound else []), "-c:v", "copy"]
    subprocess.run([*command, "-muxdelay", "0", *options, "-f", "mpegts", str(target)], check=True)
    return target.read_bytes()


def changing(folder: Path, change: str) -> Path:
    """Four seconds, and four more in which the streams are others; the timestamps continue."""
    video = write_video(folder / "v.mp4", count=120, codec_options={"bf": "2", "g": "30"})
    later = [*LATER[change], "-output_ts_offset", "4", "-tables_version", "1"]
    path = folder / "changing.ts"
    first = part(video, folder / "a.ts", [])
    path.write_bytes(first + part(video, folder / "b.ts", later, with_sound=change.startswith("sound")))
    return path


@pytest.mark.parametrize("change", LATER)
def test_all_frames_of_a_file_are_read_when_its_streams_change(tmp_path: Path, change: str) -> None:
    with open_video(changing(tmp_path, change)) as video:
        frames = list(video.frames())
        numbers = [number_of(frame.image) for frame in frames]
        assert video.warnings == []
    # Where the parts meet, two frames may change places: their timestamps overlap.
    assert sorted(numbers) == sorted(2 * [number % 50 for number in range(120)])
    assert frames[-1].pts_s == pytest.approx(8.0, abs=0.1)
    assert all(after.pts_s > before.pts_s for before, after in itertools.pairwise(frames))


class Pushed:
    """Bytes of a stream without an end."""

    def __init__(self, once: bytes, then: bytes) -> None:
        self._once, self._then = once, then

    def read(self, max_bytes: int, /) -> bytes:
        if self._once:
            data, self._once = self._once[:max_bytes], self._once[max_bytes:]
            return data
        time.sleep(0.01)
        return self._then[: max_bytes // 188 * 188]


@pytest.mark.slow
def test_a_pushed_live_stream_is_analysed_again_when_it_continues_under_other_numbers(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", count=120, codec_options={"g": "30"})
    first = part(video, tmp_path / "a.ts", [])
    other = part(video, tmp_path / "b.ts", ["-mpegts_start_pid", "0x200", "-mpegts_pmt_start_pid", "0x1001"])
    with PacketReader(Pushed(first, other), live=True, timeout_s=2.0) as packets:
        before = packets.stream.id
        for packet in packets.packets:
            if packets.stream.id != before and packets.decoder.decode(packet):
                break
        assert (before, packets.stream.id) == (0x100, 0x200)
        assert packets.warnings == [INTERRUPTED]


@pytest.mark.slow
def test_a_pushed_live_stream_that_continues_with_sound_only_fails_and_leaves_nothing_open(tmp_path: Path) -> None:
    first = part(write_video(tmp_path / "v.mp4", count=120, codec_options={"g": "30"}), tmp_path / "a.ts", [])
    path, sound = tmp_path / "sound.ts", ["-f", "lavfi", "-i", "sine=frequency=440:duration=8", "-c:a", "aac"]
    numbers = ["-mpegts_start_pid", "0x300", "-mpegts_pmt_start_pid", "0x1002"]
    subprocess.run(["ffmpeg", "-loglevel", "error", *sound, *numbers, str(path)], check=True)
    opened_before = [each for each in gc.get_objects() if type(each) is InputContainer]
    with (
        pytest.raises(VideoError, match="no video stream") as _held,
        PacketReader(Pushed(first, path.read_bytes()), live=True, timeout_s=2.0) as packets,
    ):
        list(packets.packets)
    left = [each for each in gc.get_objects() if type(each) is InputContainer and each not in opened_before]
    assert left
    for container in left:
        with pytest.raises(AssertionError, match="not open"):
            _ = container.bit_rate


@pytest.mark.parametrize(
    ("suffix", "codec", "read"),
    [
        *((suffix, "libx264", 1) for suffix in (".mp4", ".mov", ".flv", ".asf", ".wtv")),
        (".ivf", "libsvtav1", 1),
        (".ivf", "libvpx", 1),
        (".mkv", "libx264", 2),
        (".ts", "libx264", 3),
    ],
)
def test_skipped_parts_of_recordings_that_were_joined_byte_by_byte_are_reported(
    tmp_path: Path, suffix: str, codec: str, read: int
) -> None:
    count = 8
    options = {"qp": "1"} if codec == "libx264" else {"b": "2M"}
    part = write_video(tmp_path / f"part{suffix}", count=count, codec=codec, codec_options=options, draw=noisy_image)
    path = tmp_path / f"joined{suffix}"
    for joined in (1, 3):
        path.write_bytes(joined * part.read_bytes())
        with open_video(path) as video:
            assert len(list(video.frames())) == min(joined, read) * count
            left_out = [warning for warning in video.warnings if "another recording was appended" in warning]
        if joined <= read:
            assert left_out == []
        else:
            [share] = re.findall(r"The last (\d+)% of the file", left_out[0])
            assert int(share) == pytest.approx(100 * (joined - read) / joined, abs=2)


def test_writing_av1_leaves_the_priority_of_the_tests_as_it_was(tmp_path: Path) -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    write_video(tmp_path / "v.mkv", count=2, codec="libsvtav1", codec_options={"preset": "12"})
    assert (os.sched_getscheduler(0), os.sched_getparam(0)) == before


def noisy_image(number: int, width: int, height: int) -> Pixels:
    """An image that takes many bytes."""
    return np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8)
