"""The decoder returns the same images at the same times however it is used, and a clear error if it cannot."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.video.errors import VideoError
from model.video.file_reader import open_video
from model.video.frame import Frame
from model.video.preprocess import FrameInput
from tests.support.made_videos import cut, number_of, write_audio, write_video

CENTRE_32 = FrameInput(32, "centre_crop")

FAST_START = {"movflags": "+faststart"}


def read(path: Path, **options: float | FrameInput) -> list[Frame]:
    with open_video(path) as video:
        return list(video.frames(**options))  # type: ignore[arg-type]


def failure(source: str | Path) -> VideoError:
    with pytest.raises(VideoError) as caught:
        open_video(source)
    return caught.value


def test_every_image_comes_once_in_order_with_its_media_time(tmp_path: Path) -> None:
    frames = read(write_video(tmp_path / "v.mp4", count=40))
    assert [number_of(f.image) for f in frames] == list(range(40))
    np.testing.assert_allclose([f.pts_s for f in frames], np.arange(40) / 30, atol=1e-6)
    assert frames[0].image.shape == (120, 160, 3)


def test_the_probe_reports_codec_size_rate_and_length(tmp_path: Path) -> None:
    with open_video(write_video(tmp_path / "v.mp4", count=60)) as video:
        assert (video.info.codec, video.info.width, video.info.height) == ("h264", 160, 120)
        assert video.info.rate_hz == pytest.approx(30)
        assert video.info.duration_s == pytest.approx(2.0)
        assert video.info.rotation_deg == 0


def test_sampling_takes_the_first_image_of_each_slot(tmp_path: Path) -> None:
    frames = read(write_video(tmp_path / "v.mp4", count=40), sample_hz=10)
    assert [number_of(f.image) for f in frames] == list(range(0, 40, 3))


@pytest.mark.parametrize("rate_hz", [24, 25, 50])
def test_sampling_at_ten_hertz_works_for_any_frame_rate(tmp_path: Path, rate_hz: int) -> None:
    frames = read(write_video(tmp_path / "v.mp4", count=2 * rate_hz, rate_hz=rate_hz), sample_hz=10)
    assert [int(f.pts_s * 10 + 1e-6) for f in frames] == list(range(20))


def test_the_asked_size_is_a_centre_crop_of_the_scaled_image(tmp_path: Path) -> None:
    def bars(number: int, width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        image = np.zeros((height, width, 3), np.uint8)
        image[:, width // 4 : width - width // 4] = (0, 0, 255)
        return image

    path = write_video(tmp_path / "v.mp4", width=320, height=160, count=3, draw=bars)
    image = read(path, frame_input=CENTRE_32)[0].image
    assert image.shape == (32, 32, 3)
    assert image.flags.c_contiguous
    assert image[..., 2].min() > 200
    assert image[..., 0].max() < 50


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_a_resumed_decode_equals_the_rest_of_an_uninterrupted_one(tmp_path: Path, suffix: str) -> None:
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    options = {"g": "12", "bf": "2"}
    path = write_video(tmp_path / f"v{suffix}", count=45, codec=codec, codec_options=options)
    whole = read(path, sample_hz=10, frame_input=CENTRE_32)
    for stop in range(0, len(whole), 3):
        rest = read(path, sample_hz=10, frame_input=CENTRE_32, after_s=whole[stop].pts_s)
        assert [f.pts_s for f in rest] == [f.pts_s for f in whole[stop + 1 :]]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(rest, whole[stop + 1 :], strict=True))


def test_a_resume_between_two_frames_gives_the_later_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=40)
    assert [number_of(f.image) for f in read(path, after_s=0.51)] == list(range(16, 40))
    assert read(path, after_s=100.0) == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=2, max_size=30))
def test_variable_frame_rate_keeps_each_images_own_time(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int]
) -> None:
    pts = [int(p) for p in np.cumsum([0, *gaps])]
    path = tmp_path_factory.mktemp("vfr") / "v.mkv"
    write_video(path, count=len(pts), pts=pts, time_base=Fraction(1, 1000), width=32, height=32)
    assert [round(f.pts_s * 1000) for f in read(path)] == pts


def test_times_count_from_the_first_image_even_if_the_streams_clock_starts_elsewhere(tmp_path: Path) -> None:
    path = write_video(tmp_path / "late.mkv", count=10, pts=[300 + n for n in range(10)])
    np.testing.assert_allclose([f.pts_s for f in read(path)], np.arange(10) / 30, atol=2e-3)


def test_images_before_time_zero_are_those_that_the_file_hides_and_the_rest_count_from_zero(tmp_path: Path) -> None:
    frames = read(write_video(tmp_path / "early.mp4", count=10, pts=[n - 5 for n in range(10)]))
    assert [number_of(f.image) for f in frames] == [5, 6, 7, 8, 9]
    np.testing.assert_allclose([f.pts_s for f in frames], np.arange(5) / 30, atol=1e-6)


def test_negative_timestamps_read_as_growing_times_from_zero(tmp_path: Path) -> None:
    keep = {"avoid_negative_ts": "disabled"}
    no_reordering = {"bf": "0", "preset": "ultrafast"}
    path = tmp_path / "negative.mkv"
    write_video(path, count=10, pts=[n - 5 for n in range(10)], codec_options=no_reordering, format_options=keep)
    frames = read(path)
    assert [number_of(f.image) for f in frames] == list(range(10))
    assert frames[0].pts_s == 0
    assert np.all(np.diff([f.pts_s for f in frames]) > 0)


def test_images_without_timestamps_are_spaced_by_the_stated_rate(tmp_path: Path) -> None:
    frames = read(write_video(tmp_path / "v.h264", count=20))
    assert [number_of(f.image) for f in frames] == list(range(20))
    np.testing.assert_allclose([f.pts_s for f in frames], np.arange(20) / 30, atol=1e-6)
    rest = read(tmp_path / "v.h264", after_s=frames[7].pts_s)
    assert [number_of(f.image) for f in rest] == list(range(8, 20))


@pytest.mark.parametrize(("counter_clockwise_deg", "corner"), [(90, (-1, 0)), (180, (-1, -1)), (270, (0, -1))])
def test_a_turned_phone_video_comes_upright(
    tmp_path: Path, counter_clockwise_deg: int, corner: tuple[int, int]
) -> None:
    path = write_video(tmp_path / "v.mp4", count=3, counter_clockwise_deg=counter_clockwise_deg)
    with open_video(path) as video:
        assert video.info.rotation_deg == 360 - counter_clockwise_deg
        image = next(video.frames()).image
        turned = counter_clockwise_deg in (90, 270)
        assert (video.info.width, video.info.height) == ((120, 160) if turned else (160, 120))
        assert image.shape == (video.info.height, video.info.width, 3)
        red, green, _ = image[corner[0], corner[1]]
        assert red > 200
        assert green < 60


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_of_a_cut_file_everything_that_decodes_is_given_then_a_warning(tmp_path: Path, suffix: str) -> None:
    path = cut(
        write_video(tmp_path / f"v{suffix}", count=150, format_options=FAST_START if suffix == ".mp4" else None), 0.6
    )
    with open_video(path) as video:
        frames = list(video.frames())
        assert [number_of(f.image) for f in frames[:40]] == list(range(40))
        assert len(frames) < 140
        assert any("cut short" in warning for warning in video.warnings)


def test_a_whole_file_gives_no_warning(tmp_path: Path) -> None:
    with open_video(write_video(tmp_path / "v.mp4", count=90)) as video:
        assert len(list(video.frames())) == 90
        assert video.warnings == []


def test_damage_in_the_middle_does_not_end_the_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.ts", count=150)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = np.random.default_rng(0).bytes(4000)
    path.write_bytes(content)
    frames = read(path)
    assert frames[-1].pts_s > 4.5
    assert len(frames) > 75


def test_metadata_that_is_not_text_does_not_matter(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=6)
    content = path.read_bytes()
    assert b"Lavf" in content
    path.write_bytes(content.replace(b"Lavf", b"\xd8\xffvf"))
    assert len(read(path)) == 6


def test_a_file_cut_before_its_index_is_decode_failed(tmp_path: Path) -> None:
    error = failure(cut(write_video(tmp_path / "v.mp4"), 0.5))
    assert error.code == "decode_failed"
    assert "index" in error.detail


def test_an_empty_file_a_text_noise_and_an_image_are_unsupported(tmp_path: Path) -> None:
    empty, text, noise = tmp_path / "empty.mp4", tmp_path / "text.mp4", tmp_path / "noise.mkv"
    empty.write_bytes(b"")
    text.write_text("this is no video\n" * 100)
    noise.write_bytes(np.random.default_rng(1).bytes(30_000))
    png = write_video(tmp_path / "i.png", count=1, codec="png", pixel_format="rgb24", codec_options={"pred": "none"})
    jpg = write_video(tmp_path / "i.jpg", count=1, codec="mjpeg", pixel_format="yuvj420p", codec_options={"qmin": "2"})
    gif = write_video(tmp_path / "i.gif", count=1, codec="gif", pixel_format="rgb8", codec_options={"gifflags": "0"})
    disguised = png.rename(tmp_path / "i.mp4")
    for path in (empty, text, noise, jpg, gif, disguised):
        assert failure(path).code == "source_unsupported", path
    assert "empty" in failure(empty).detail


def test_a_playlist_cannot_make_the_decoder_open_other_files(tmp_path: Path) -> None:
    secret = write_video(tmp_path / "secret.mp4")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:{secret}\n#EXT-X-ENDLIST\n")
    concat = tmp_path / "list.mp4"
    concat.write_text(f"ffconcat version 1.0\nfile {secret.name}\n")
    for source in (playlist, concat, f"concat:{secret}|{secret}", f"subfile,,start,0,end,0,,:{secret}"):
        assert failure(source).code in ("source_unsupported", "source_unreachable")


def test_audio_without_images_has_no_video_stream(tmp_path: Path) -> None:
    assert failure(write_audio(tmp_path / "a.m4a")).code == "no_video_stream"


def test_a_missing_file_and_a_directory_are_unreachable(tmp_path: Path) -> None:
    assert failure(tmp_path / "nothing.mp4").code == "source_unreachable"
    assert failure(tmp_path).code == "source_unreachable"


def test_a_one_pixel_video_is_scaled_up(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", width=1, height=1, count=5, codec="ffv1", pixel_format="yuv444p")
    frames = read(path, frame_input=CENTRE_32)
    assert len(frames) == 5
    assert frames[0].image.shape == (32, 32, 3)


def test_an_8k_video_decodes_and_a_larger_one_is_refused_before_it_costs_memory(tmp_path: Path) -> None:
    def flat(number: int, width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return np.broadcast_to(np.uint8(90), (height, width, 3)).copy()

    path = write_video(tmp_path / "v.mp4", width=7680, height=4320, count=2, draw=flat)
    assert [f.image.shape for f in read(path, frame_input=CENTRE_32)] == [(32, 32, 3)] * 2
    too_large = grown_by_its_header(tmp_path / "big.mkv", 12_000)
    program = (
        "import sys, pathlib\n"
        "from model.video.file_reader import open_video\n"
        "from model.video.errors import VideoError\n"
        "try: open_video(sys.argv[1])\n"
        "except VideoError as error: sys.stdout.write(error.detail)\n"
        "sys.stdout.write(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0].rjust(20))"
    )
    child = subprocess.run([sys.executable, "-c", program, too_large], capture_output=True, text=True, check=True)
    detail, peak_kb = child.stdout[:-20], child.stdout[-20:]
    assert "larger than 8192 x 4352" in detail
    assert int(peak_kb) < 150_000
    assert child.stderr == ""


def grown_by_its_header(path: Path, side: int) -> Path:
    """A small Matroska file whose header says that its images are `side` x `side`."""
    write_video(path, width=300, height=300, count=1, codec="ffv1")
    content = path.read_bytes()
    for element in (b"\xb0\x82", b"\xba\x82"):
        assert content.count(element + (300).to_bytes(2, "big")) == 1
        content = content.replace(element + (300).to_bytes(2, "big"), element + side.to_bytes(2, "big"))
    path.write_bytes(content)
    return path


def test_a_stream_without_a_plausible_frame_rate_has_none_and_still_plays(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", count=3, rate_hz=90_000, time_base=Fraction(1, 90_000), pts=[0, 1, 2])
    with open_video(path) as video:
        assert video.info.rate_hz is None
        assert len(list(video.frames(frame_input=CENTRE_32))) == 3
