"""The decoder child sends the frames of the video reader, at the right pace, or an error."""

import dataclasses
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model.video.errors import VideoError
from model.video.file_reader import open_video
from model.video.preprocess import FrameInput, Region
from service.decoder.process import DecodedFrame, Ended, Message, Snapshot, start_decoder
from service.decoder.protocol import DecodeRequest
from tests.support.decode_kit import LOOPBACK, request
from tests.support.made_videos import cut, with_duration, write_audio, write_video
from tests.support.video_server import serve_folder

CENTRE_32 = FrameInput(32, "centre_crop")


async def everything(asked: DecodeRequest) -> list[Message]:
    async with start_decoder(asked, LOOPBACK) as decoder:
        return [message async for message in decoder.messages()]


async def failure(address: str | Path, timeout_s: float = 60.0) -> VideoError:
    with pytest.raises(VideoError) as caught:
        await everything(request(address, timeout_s=timeout_s))
    return caught.value


def frames_of(messages: list[Message]) -> list[DecodedFrame]:
    return [message for message in messages if isinstance(message, DecodedFrame)]


async def test_a_file_may_not_be_longer_than_is_allowed_even_if_its_header_states_less(tmp_path: Path) -> None:
    every_half_hour = [30 * 1800 * number for number in range(5)]
    long = write_video(tmp_path / "long.mp4", count=5, pts=every_half_hour)
    # A live Matroska file states no duration: only its frames show it.
    jumping = write_video(tmp_path / "jumping.mkv", count=5, pts=every_half_hour, format_options={"live": "1"})
    for path in (long, jumping):
        assert isinstance((await everything(request(path)))[-1], Ended)
        with pytest.raises(VideoError) as refused:
            await everything(dataclasses.replace(request(path), max_duration_s=3600.0))
        assert refused.value.code == "limit_exceeded"
        assert "1.0 h" in refused.value.detail


async def test_a_header_that_states_too_long_a_duration_does_not_reject_a_file(tmp_path: Path) -> None:
    path = with_duration(write_video(tmp_path / "v.mkv", count=30), 1e9)
    messages = await everything(dataclasses.replace(request(path), max_duration_s=60.0))
    assert len(frames_of(messages)) == 10
    assert isinstance(messages[-1], Ended)


@pytest.mark.parametrize(("ticks_per_s", "is_allowed"), [(900, True), (100_000, False)])
async def test_a_file_may_not_have_a_thousand_frames_a_second_for_long(
    tmp_path: Path, ticks_per_s: int, is_allowed: bool
) -> None:
    path = write_video(
        tmp_path / "dense.mov",
        width=16,
        height=16,
        count=10_300,
        pts=list(range(10_300)),
        time_base=Fraction(1, ticks_per_s),
        codec="mjpeg",
        pixel_format="yuvj420p",
        codec_options={"threads": "1"},
    )
    if is_allowed:
        assert isinstance((await everything(request(path)))[-1], Ended)
    else:
        assert (await failure(path)).code == "limit_exceeded"


async def test_the_child_gives_the_probe_then_the_same_frames_as_the_decoder_then_the_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=45)
    began_unix_s = time.time()
    messages = await everything(request(path))
    with open_video(path) as video:
        expected = list(video.frames(sample_hz=10.0, frame_input=CENTRE_32))
        assert messages[0] == video.info
    assert messages[-1] == Ended(())
    frames = frames_of(messages)
    assert [f.pts_s for f in frames] == [f.pts_s for f in expected]
    assert all(np.array_equal(a.images, [b.image]) for a, b in zip(frames, expected, strict=True))
    assert all(f.decode_s >= 0 and began_unix_s <= f.arrived_unix_s <= time.time() for f in frames)


async def test_each_region_is_an_image_of_the_same_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=30)
    regions = (Region(0.0, 0.0, 0.25, 0.25), Region(0.5, 0.5, 0.5, 0.5))
    frames = frames_of(await everything(dataclasses.replace(request(path), regions=regions)))
    with open_video(path) as video:
        inputs = [FrameInput(32, "centre_crop", region) for region in regions]
        expected = [frame.images for frame in video.frames(10.0, inputs)]
    np.testing.assert_array_equal([frame.images for frame in frames], expected)


async def test_a_later_start_gives_the_rest(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=45)
    whole = frames_of(await everything(request(path)))
    rest = frames_of(await everything(request(path, after_s=whole[6].pts_s)))
    assert [f.pts_s for f in rest] == [f.pts_s for f in whole[7:]]


async def test_the_live_pace_gives_each_frame_when_a_camera_would(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=24)
    frames = frames_of(await everything(request(path, pace="realtime")))
    lag_s = np.array([f.arrived_unix_s - f.pts_s for f in frames])
    assert len(frames) == 8
    # The clock of a process that a busy machine interrupts may be read late.
    assert np.median(np.abs(lag_s - np.median(lag_s))) < 0.02


@pytest.mark.parametrize(("after_s", "frames_left"), [(13.0, 3), (10.0, 33), (None, 134)])
async def test_a_resumed_realtime_pace_replays_the_frames_before_its_position(
    tmp_path: Path, after_s: float | None, frames_left: int
) -> None:
    path = write_video(tmp_path / "v.mp4", count=400)
    frames = frames_of(await everything(request(path, pace="realtime", after_s=after_s, replay_until_s=13.0)))
    assert len(frames) == frames_left


async def test_snapshots_are_jpegs_of_the_whole_frame(tmp_path: Path) -> None:
    messages = await everything(request(write_video(tmp_path / "v.mp4", count=12, width=800, height=600)))
    snapshots = [message for message in messages if isinstance(message, Snapshot)]
    assert snapshots
    (tmp_path / "s.jpg").write_bytes(snapshots[0].jpeg)
    assert snapshots[0].jpeg.startswith(b"\xff\xd8")
    # The size stands in the frame header of the JPEG: height, then width.
    at = snapshots[0].jpeg.index(b"\xff\xc0") + 5
    assert snapshots[0].jpeg[at : at + 4] == (480).to_bytes(2, "big") + (640).to_bytes(2, "big")


async def test_snapshots_are_frequent_while_a_client_is_watching(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=3000)
    frames: list[float] = []
    snapshots = []
    often = dataclasses.replace(request(path, size=96), snapshot_hz=1e6)
    async with start_decoder(often, LOOPBACK) as decoder:
        async for message in decoder.messages(lambda: 300 <= len(frames) < 600):
            if isinstance(message, DecodedFrame):
                frames.append(message.pts_s)
            elif isinstance(message, Snapshot):
                snapshots.append(len(frames))
    assert len(frames) == 1000
    # The pipe holds some that were sent before the decoder received the message.
    assert sum(after < 300 for after in snapshots) == 1
    assert sum(300 <= after < 700 for after in snapshots) > 200
    assert sum(after >= 700 for after in snapshots) <= 1


async def test_a_cut_video_ends_with_a_warning(tmp_path: Path) -> None:
    path = cut(write_video(tmp_path / "v.mkv", count=150), 0.6)
    ended = (await everything(request(path)))[-1]
    assert isinstance(ended, Ended)
    assert any("cut short" in warning for warning in ended.warnings)


async def test_files_that_cannot_be_used_fail_with_their_code(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    assert (await failure(text)).code == "source_unsupported"
    assert (await failure(write_audio(tmp_path / "a.m4a"))).code == "no_video_stream"
    assert (await failure(tmp_path / "nothing.mp4")).code == "source_unreachable"


async def test_urls_play_or_fail_with_their_code(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", count=30, format_options={"movflags": "+faststart"})
    (tmp_path / "page.html").write_text("<html>" * 100)
    with serve_folder(tmp_path) as host:
        assert len(frames_of(await everything(request(f"http://{host}/v.mp4")))) == 10
        assert len(frames_of(await everything(request(f"http://user:pass@{host}/secret/v.mp4")))) == 10
        assert (await failure(f"http://user:wrong@{host}/secret/v.mp4")).code == "source_unauthorized"
        assert (await failure(f"http://{host}/nothing.mp4")).code == "source_unreachable"
        assert (await failure(f"http://{host}/page.html")).code == "source_unsupported"
        assert (await failure(f"http://{host}/stall/v.mp4", timeout_s=0.5)).code == "source_timeout"
    assert (await failure(f"http://{host}/v.mp4")).code == "source_unreachable"
    assert (await failure("http://no-such-host.invalid/v.mp4")).code == "source_unreachable"
    assert (await failure(f"gopher://{host}/v.mp4")).code == "source_unsupported"


async def test_an_error_never_contains_the_address(tmp_path: Path) -> None:
    with serve_folder(tmp_path) as host:
        error = await failure(f"http://user:hunter2@{host}/secret/v.mp4?token=abc")
    assert "hunter2" not in str(error)
    assert "abc" not in str(error)
