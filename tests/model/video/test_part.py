"""Parts of video files: clips whose frames are those of the file, at their times."""

from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.video.clip_writer import DecodeTimes
from model.video.errors import VideoError
from model.video.packet_buffer import BufferedPacket, reordered
from tests.support.clip_kit import clip_of, still_of
from tests.support.made_videos import Pixels, numbered_image, remuxed, write_audio, write_video

RATE_HZ = 30
REORDERED = {"preset": "fast", "g": "24", "bf": "3", "sc_threshold": "0"}
CONTAINERS = ("mp4", "mpegts", "matroska", "flv")


def a_video(folder: Path, container: str, **options: object) -> Path:
    """Four seconds with B-frames."""
    video = write_video(folder / "v.mp4", count=120, rate_hz=RATE_HZ, codec_options=REORDERED, **options)  # type: ignore[arg-type]
    return video if container == "mp4" else remuxed(video, container)


def later_image(number: int, width: int, height: int) -> Pixels:
    """An image whose number no image of the first forty has."""
    return numbered_image(40 + number % 10, width, height)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_clip_has_every_frame_from_the_keyframe_before_until_its_end(tmp_path: Path, container: str) -> None:
    frames = clip_of(a_video(tmp_path, container), 1.5, 2.5)
    assert frames[0][0] == pytest.approx(24 / RATE_HZ, abs=0.002)
    assert 2.4 < frames[-1][0] < 2.7
    times = [time_s for time_s, _ in frames]
    assert times == pytest.approx([times[0] + frame / RATE_HZ for frame in range(len(times))], abs=0.002)
    assert [number for _, number in frames] == [round(time_s * RATE_HZ) % 50 for time_s in times]


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_still_is_the_frame_at_its_time(tmp_path: Path, container: str) -> None:
    video = a_video(tmp_path, container)
    assert still_of(video, 47 / RATE_HZ) == 47
    assert still_of(video, 0.0) == 0


def test_a_clip_reaches_from_the_first_frame_to_the_last(tmp_path: Path) -> None:
    frames = clip_of(a_video(tmp_path, "mp4"), 0.0, 60.0)
    assert [number for _, number in frames] == [number % 50 for number in range(120)]


def test_a_clip_of_a_video_that_starts_after_its_sound_has_the_times_of_a_player(tmp_path: Path) -> None:
    video, sound, path = a_video(tmp_path, "mp4"), write_audio(tmp_path / "s.mp4"), tmp_path / "both.ts"
    with av.open(str(video)) as seen, av.open(str(sound)) as heard, av.open(str(path), "w") as both:
        streams = [both.add_stream_from_template(source.streams[0]) for source in (seen, heard)]
        for source, stream, late_s in ((heard, streams[1], 0), (seen, streams[0], 1)):
            for packet in source.demux():
                if packet.dts is None or packet.pts is None or packet.time_base is None:
                    continue
                packet.dts += round(late_s / packet.time_base)
                packet.pts += round(late_s / packet.time_base)
                packet.stream = stream
                both.mux(packet)
    (first_s, first), *_ = clip_of(path, 2.0, 2.5)
    # A player shows frame 24, a keyframe, a second later than without the sound.
    assert first == 24
    assert first_s == pytest.approx(1 + 24 / RATE_HZ, abs=0.05)


def test_a_clip_of_joined_recordings_follows_their_restarted_clock(tmp_path: Path) -> None:
    one = remuxed(write_video(tmp_path / "v.mp4", count=60, rate_hz=RATE_HZ), "mpegts")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() * 2)
    for from_s in (0.3, 1.0, 3.0):
        frames = clip_of(joined, from_s, from_s + 0.5)
        assert frames[0][0] <= from_s
        numbers = {round(time_s * RATE_HZ) % 60 % 50: number for time_s, number in frames}
        assert list(numbers) == list(numbers.values())


def test_a_clip_and_a_still_of_the_first_of_joined_recordings_are_not_those_of_another(tmp_path: Path) -> None:
    """A seek to a time of the first recording ends in the last one."""
    recordings = []
    for count, draw in ((40, numbered_image), (33, later_image), (27, later_image)):
        recordings.append(write_video(tmp_path / f"{count}.ts", count=count, codec_options=REORDERED, draw=draw))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(recording.read_bytes() for recording in recordings))
    for number in (1, 10, 25, 36):
        at_s = number / RATE_HZ
        assert still_of(joined, at_s) == number
        assert all(seen == round(time_s * RATE_HZ) for time_s, seen in clip_of(joined, at_s, min(at_s + 0.2, 1.3)))


def test_video_that_browsers_do_not_play_is_rejected_with_the_reason(tmp_path: Path) -> None:
    old = write_video(tmp_path / "v.avi", codec="mpeg4", codec_options={"g": "12"})
    with pytest.raises(VideoError, match=r"mpeg4 video, .* Convert the video to H\.264") as caught:
        clip_of(old, 0.0, 1.0)
    assert caught.value.code == "source_unsupported"
    deep = write_video(tmp_path / "deep.mp4", pixel_format="yuv444p")
    with pytest.raises(VideoError, match="yuv444p"):
        clip_of(deep, 0.0, 1.0)
    # A still needs no browser's codec.
    assert still_of(old, 0.5) == pytest.approx(15, abs=1)


def test_a_time_after_the_end_has_no_clip_and_no_still(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4")
    with pytest.raises(VideoError, match=r"no frame at 99\.0 s"):
        still_of(video, 99.0)


@given(st.lists(st.integers(1, 1000), unique=True, max_size=40), st.integers(0, 3))
def test_made_decoding_timestamps_increase_and_never_exceed_those_of_the_display(later: list[int], more: int) -> None:
    packets, pts = [], [0, *later]
    for shown in pts:
        packet = av.Packet(b"x")
        packet.pts = shown
        packets.append(BufferedPacket(packet, 0.0))
    times = DecodeTimes(reordered(packets) + more)
    dts = [times.next(shown) for shown in pts]
    assert all(at is not None and at <= shown for at, shown in zip(dts, pts, strict=True))
    assert dts == sorted(set(dts), key=lambda at: at or 0)
