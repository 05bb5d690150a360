"""Files whose containers store times badly: every frame is used, in display order, at the time a player shows."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet

from model.video.file_reader import FileReader, open_video
from model.video.frame import Frame
from model.video.media_time import slot
from model.video.packets import PacketReader
from model.video.preprocess import FrameInput
from tests.support.made_videos import number_of, numbered_image, write_video

COUNT, RATE_HZ = 48, 30
B_FRAMES = {"preset": "veryfast", "g": "24", "bf": "3"}
WHOLE_32 = FrameInput(32, "stretch")
MPEG2 = {"g": "12", "bf": "2", "b": "2M"}


def read(path: Path, sample_hz: float | None = None, after_s: float | None = None) -> tuple[list[Frame], list[str]]:
    """The frames, and what the reader reports about the file."""
    with open_video(path) as video:
        frames = list(video.frames(sample_hz, None if sample_hz is None else WHOLE_32, after_s))
        return frames, video.warnings + video.notes


def numbers(frames: list[Frame]) -> list[int]:
    return [number_of(frame.image) for frame in frames]


def restamped(video: Path, path: Path, change: Callable[[int, Packet], None]) -> Path:  # type: ignore[type-arg]
    """A copy of a video in which `change` has set the timestamps of each packet, given its number."""
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            packet.stream = stream
            change(number, packet)
            target.mux(packet)
    return path


def pts_in_decoding_order(number: int, packet: Packet) -> None:  # type: ignore[type-arg]
    """The result of copying an AVI into this container."""
    assert packet.time_base is not None
    packet.dts = packet.pts = round(number / RATE_HZ / packet.time_base)


def h264(folder: Path, name: str) -> Path:
    return write_video(folder / name, count=COUNT, codec_options=B_FRAMES)


def h264_in_avi(folder: Path) -> Path:
    return h264(folder, "v.avi")


def mpeg4_in_avi(folder: Path) -> Path:
    return write_video(folder / "v.avi", count=COUNT, codec="mpeg4", codec_options=MPEG2)


def h264_in_asf(folder: Path) -> Path:
    return h264(folder, "v.asf")


def h264_in_mxf(folder: Path) -> Path:
    return write_video(folder / "v.mxf", count=COUNT, codec_options=B_FRAMES | {"profile": "high"})


def avi_in_mp4(folder: Path) -> Path:
    return restamped(h264(folder, "original.mp4"), folder / "v.mp4", pts_in_decoding_order)


def avi_in_mkv(folder: Path) -> Path:
    return restamped(h264(folder, "original.mp4"), folder / "v.mkv", pts_in_decoding_order)


def h264_in_flv(folder: Path) -> Path:
    return h264(folder, "v.flv")


def mpeg2_in_vob(folder: Path) -> Path:
    return write_video(folder / "v.vob", count=COUNT, codec="mpeg2video", codec_options=MPEG2)


def h265_in_vob(folder: Path) -> Path:
    """Few of its frames have timestamps, and FFmpeg guesses a rate of 1 Hz."""
    options = {"preset": "ultrafast", "x265-params": "log-level=none:bframes=3"}
    return write_video(folder / "v.vob", count=COUNT, codec="libx265", codec_options=options)


def mpeg1_in_avi(folder: Path) -> Path:
    """B-frames have timestamps for their display, the others only for their decoding."""
    return write_video(folder / "v.avi", count=COUNT, codec="mpeg1video", codec_options=MPEG2)


@pytest.mark.parametrize(
    "make",
    [
        *(h264_in_avi, mpeg4_in_avi, mpeg1_in_avi, h264_in_asf, h264_in_mxf, avi_in_mp4, avi_in_mkv, h264_in_flv),
        *(mpeg2_in_vob, h265_in_vob),
    ],
)
def test_every_frame_comes_once_in_display_order_at_its_time(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    frames, _ = read(path)
    assert numbers(frames) == list(range(COUNT))
    np.testing.assert_allclose([f.pts_s for f in frames], np.arange(COUNT) / RATE_HZ, atol=0.051)
    assert all(later.pts_s > earlier.pts_s for earlier, later in pairwise(frames))


@pytest.mark.parametrize("make", [h264_in_avi, h264_in_mxf, avi_in_mp4, avi_in_mkv, mpeg2_in_vob])
def test_sampling_and_resuming_take_the_same_frames(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    firsts: dict[int, float] = {}
    for frame in read(path)[0]:
        firsts.setdefault(slot(frame.pts_s, 10.0), frame.pts_s)
    sampled = [frame.pts_s for frame in read(path, 10.0)[0]]
    assert sampled == list(firsts.values())
    for position in range(0, len(sampled), 4):
        resumed, _ = read(path, 10.0, sampled[position])
        assert [frame.pts_s for frame in resumed] == sampled[position + 1 :]


def joined(folder: Path, suffix: str, first: int, second: int) -> Path:
    """Two recordings, each with its own clock, one after the other in one file."""
    codec, options = ("libx264", B_FRAMES) if suffix == ".ts" else ("mpeg2video", MPEG2)
    parts = [
        write_video(folder / f"{number}{suffix}", count=count, codec=codec, codec_options=options).read_bytes()
        for number, count in enumerate((first, second))
    ]
    path = folder / f"joined{suffix}"
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("suffix", [".ts", ".vob"])
@pytest.mark.parametrize(("first", "second"), [(30, 45), (75, 40), (12, 90)])
def test_after_a_clock_that_restarts_time_continues_and_the_reader_reports_it(
    tmp_path: Path, suffix: str, first: int, second: int
) -> None:
    path = joined(tmp_path, suffix, first, second)
    frames, reported = read(path)
    assert numbers(frames) == [n % 50 for n in range(first)] + [n % 50 for n in range(second)]
    np.testing.assert_allclose([f.pts_s for f in frames], np.arange(first + second) / RATE_HZ, atol=0.051)
    assert reported == ["Clock restarts in the video: 1. After each, time continues from the frame before."]


@pytest.mark.parametrize("is_whole", [True, False])
def test_fragments_of_joined_recordings_are_all_analysed(tmp_path: Path, *, is_whole: bool) -> None:
    """FFmpeg marks the first fragment after a clock that restarts to be discarded."""
    fragmented = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    first, second = (
        write_video(
            tmp_path / f"{count}.mp4", count=count, codec_options=B_FRAMES, format_options=fragmented
        ).read_bytes()
        for count in (60, 50)
    )
    path = tmp_path / "joined.mp4"
    path.write_bytes(first + second[0 if is_whole else second.index(b"moof") - 4 :])
    frames, reported = read(path)
    assert numbers(frames) == [number % 50 for number in range(60)] + list(range(50))
    np.testing.assert_allclose([f.pts_s for f in frames], np.arange(110) / RATE_HZ, atol=0.07)
    assert reported == ["Clock restarts in the video: 1. After each, time continues from the frame before."]
    for stop in (5, 58, 70):
        assert [f.pts_s for f in read(path, after_s=frames[stop].pts_s)[0]] == [f.pts_s for f in frames[stop + 1 :]]


def three_recordings(folder: Path, suffix: str, codec: str, options: dict[str, str]) -> Path:
    """Recordings of one camera, joined byte by byte: a seek to a time of the first may end in another one."""
    path = folder / f"three{suffix}"
    parts = [
        write_video(folder / f"{n}{suffix}", count=n, codec=codec, codec_options=options, format_options={"live": "1"})
        if suffix == ".mkv"
        else write_video(folder / f"{n}{suffix}", count=n, codec=codec, codec_options=options)
        for n in ((60, 50) if suffix == ".mkv" else (40, 33, 27))
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


H265 = {"preset": "ultrafast", "x265-params": "log-level=none:bframes=3"}


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [(".ts", "libx264", B_FRAMES), (".ts", "libx265", H265), (".mkv", "libx264", B_FRAMES)],
)
def test_a_decode_resumed_beside_a_restart_gives_the_same_frames(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str]
) -> None:
    path = three_recordings(tmp_path, suffix, codec, options)
    frames, _ = read(path)
    assert len(frames) >= 100
    for stop in (2, 25, 36, 39, 45, 80, 96):
        assert [f.pts_s for f in read(path, after_s=frames[stop].pts_s)[0]] == [f.pts_s for f in frames[stop + 1 :]]


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
@pytest.mark.parametrize("hours", [1, 25])
@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_one_timestamp_hours_ahead_affects_only_its_own_frame(
    tmp_path: Path, suffix: str, hours: int, b_frames: str
) -> None:
    def ahead(number: int, packet: Packet) -> None:  # type: ignore[type-arg]
        assert packet.time_base is not None
        assert packet.pts is not None
        if number == 20:
            packet.pts += round(hours * 3600 / packet.time_base)

    options = {"preset": "veryfast", "g": "12", "bf": b_frames}
    original = write_video(tmp_path / "original.mkv", count=COUNT, codec_options=options)
    path = restamped(original, tmp_path / f"v{suffix}", ahead)
    frames, reported = read(path)
    assert numbers(frames) == list(range(COUNT))
    np.testing.assert_allclose([f.pts_s for f in frames], np.arange(COUNT) / RATE_HZ, atol=0.018)
    assert reported == ["Frames with a wrong timestamp, placed between their neighbours: 1."]
    assert [f.pts_s for f in read(path, after_s=frames[30].pts_s)[0]] == [f.pts_s for f in frames[31:]]
    firsts = {slot(f.pts_s, 10.0): f.pts_s for f in reversed(frames)}
    assert [f.pts_s for f in read(path, 10.0)[0]] == [*reversed(firsts.values())]


def test_a_clock_that_is_set_by_a_day_does_not_make_the_video_a_day_long(tmp_path: Path) -> None:
    def next_day(number: int, packet: Packet) -> None:  # type: ignore[type-arg]
        assert packet.time_base is not None
        assert packet.pts is not None
        assert packet.dts is not None
        if number >= 24:
            packet.pts += round(25 * 3600 / packet.time_base)
            packet.dts += round(25 * 3600 / packet.time_base)

    original = write_video(tmp_path / "original.mkv", count=COUNT, codec_options={"g": "24", "bf": "0"})
    frames, _ = read(restamped(original, tmp_path / "v.ts", next_day))
    assert numbers(frames) == list(range(COUNT))
    assert frames[-1].pts_s == pytest.approx((COUNT - 1) / RATE_HZ, abs=0.018)


def with_earlier_sound(folder: Path, suffix: str, late_s: int) -> Path:
    """A video whose sound starts `late_s` seconds before its first frame."""
    path = folder / f"late{suffix}"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE_HZ, options=B_FRAMES)
        sound = container.add_stream("mp2", rate=48_000)
        assert isinstance(video, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        for at in range(0, 48_000 * (late_s + 1), 1152):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 2304), np.int16), format="s16", layout="stereo")
            silence.sample_rate, silence.pts = 48_000, at
            container.mux(sound.encode(silence))
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(numbered_image(number, 160, 120), format="rgb24")
            frame.pts = number + late_s * RATE_HZ
            container.mux(video.encode(frame))
        container.mux(video.encode())
        container.mux(sound.encode())
    return path


# AVI and ASF store when frames are decoded, which is up to two frames earlier.
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov", ".nut", ".avi", ".asf"])
def test_time_counts_from_the_start_of_the_sound_as_in_a_player(tmp_path: Path, suffix: str) -> None:
    path = with_earlier_sound(tmp_path, suffix, late_s=2)
    frames, _ = read(path)
    np.testing.assert_allclose([f.pts_s for f in frames], 2 + np.arange(COUNT) / RATE_HZ, atol=0.07)
    resumed, _ = read(path, after_s=frames[20].pts_s)
    assert [f.pts_s for f in resumed] == [f.pts_s for f in frames[21:]]
    sampled = [f.pts_s for f in read(path, 10.0)[0]]
    assert [f.pts_s for f in read(path, 10.0, sampled[3])[0]] == sampled[4:]


def test_sessions_of_earlier_versions_count_from_the_first_frame(tmp_path: Path) -> None:
    with FileReader(PacketReader(str(with_earlier_sound(tmp_path, ".mp4", late_s=2))), "first_frame") as video:
        assert next(video.frames()).pts_s == 0.0


def test_a_recording_that_starts_inside_a_group_of_frames_keeps_the_clock_of_its_start(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.ts", count=60, codec_options={"g": "20", "bf": "0"}).read_bytes()
    packets = [whole[at : at + 188] for at in range(0, len(whole), 188)]
    starts = [n for n, p in enumerate(packets) if (p[1] & 31) << 8 | p[2] == 0x100 and p[1] & 0x40]
    path = tmp_path / "cut.ts"
    path.write_bytes(b"".join(packets[: starts[0]] + packets[starts[5] :]))
    frames, _ = read(path)
    first = numbers(frames)[0]
    assert first > 5
    assert frames[0].pts_s == pytest.approx((first - 5) / RATE_HZ, abs=0.001)
