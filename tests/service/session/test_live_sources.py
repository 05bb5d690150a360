"""Decoding of cameras, with a real decoder child and a real RTSP server."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from statistics import median
from typing import TypeVar

import pytest

from model.video.errors import VideoError
from model.video.info import VideoInfo
from model.video.packets import PacketReader
from service.decoder.process import DecodedFrame, Dropped, Message, Snapshot, start_decoder
from service.schemas import Transport
from tests.support.live_decoding import LOOPBACK, SAMPLE_HZ, failure, request, take
from tests.support.restamping_proxy import restamping_proxy
from tests.support.rtsp_server import RtspServer, rtsp_server

T = TypeVar("T")


@pytest.fixture(scope="module")
def camera() -> Iterator[RtspServer]:
    with rtsp_server() as server:
        yield server


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_camera_says_what_it_is_and_its_frames_come_as_they_are_taken(
    camera: RtspServer, transport: Transport
) -> None:
    async with start_decoder(request(camera.url("slow"), transport=transport), LOOPBACK) as decoder:
        [info, *_], frames = await take(decoder.messages(), 16)
    assert info == VideoInfo("h264", 64, 48, 8.0, None, 0, live=True)
    assert all(frame.images.shape == (1, 32, 32, 3) for frame in frames)
    assert step_s(frames) == pytest.approx(1 / 8, rel=0.2)
    assert not any(frame.is_new_timeline for frame in frames)


def step_s(frames: list[DecodedFrame]) -> float:
    """The usual time from one frame to the next; a busy machine may leave out some.

    Two steps are regular where the rate of the camera is no multiple of the detector's.
    """
    # What queued up while the stream was probed is old, and collapses into the first image.
    times_s = [frame.pts_s for frame in frames[1:]]
    return median(after - before for before, after in zip(times_s, times_s[2:], strict=False)) / 2


async def test_two_cameras_of_different_rates_are_sampled_equally(camera: RtspServer) -> None:
    async def seconds_for(path: str) -> tuple[float, float]:
        async with start_decoder(request(camera.url(path)), LOOPBACK) as decoder:
            [info, *_], frames = await take(decoder.messages(), 20)
        assert info.rate_hz is not None
        return info.rate_hz, step_s(frames)

    (slow_hz, slow_step_s), (fast_hz, fast_step_s) = await asyncio.gather(seconds_for("slow"), seconds_for("fast"))
    assert (slow_hz, fast_hz) == (8.0, 25.0)
    assert slow_step_s == pytest.approx(1 / 8, rel=0.15)
    assert fast_step_s == pytest.approx(1 / SAMPLE_HZ, rel=0.15)


@pytest.mark.slow
async def test_a_camera_that_falls_silent_times_out() -> None:
    with rtsp_server() as camera:
        async with start_decoder(request(camera.url("slow"), timeout_s=10.0), LOOPBACK) as decoder:
            messages = decoder.messages()
            await take(messages, 3)
            camera.silence()
            with pytest.raises(VideoError) as caught:
                await take(messages, 1000)
    assert caught.value.code == "source_timeout"


def test_the_frame_that_is_held_back_until_the_next_one_does_not_arrive_at_the_time_limit() -> None:
    waited_s: list[float] = []

    def read(camera: RtspServer, timeout_s: float) -> None:
        with PacketReader(camera.url("slow"), options={"rtsp_transport": "udp"}, timeout_s=timeout_s) as packets:
            for number, _ in enumerate(packets.packets):
                waited_s.append(packets.flow.awaited_s)
                if number == 3:
                    camera.silence()

    with rtsp_server() as camera, pytest.raises(VideoError, match="source_timeout"):
        read(camera, 5.0)
    assert len(waited_s) > 3
    assert max(waited_s) < 5.0


async def test_a_camera_that_dies_before_its_first_frame_counts_as_unreachable() -> None:
    with rtsp_server() as camera:
        rare = request(camera.url("rare"))
        async with start_decoder(request(camera.url("fast")), LOOPBACK) as other, start_decoder(rare, LOOPBACK):
            messages = other.messages()
            # Meanwhile the one image of this minute goes to a client that came before.
            await take(messages, 20)
            failing = asyncio.create_task(failure(camera.url("rare"), timeout_s=20.0))
            # Meanwhile this one connects, and waits for an image.
            await take(messages, 20)
            camera.stop()
            assert (await failing).code == "source_unreachable"


async def test_frames_may_change_their_size_in_mid_stream() -> None:
    with rtsp_server() as camera:
        async with start_decoder(request(camera.url("fast")), LOOPBACK) as decoder:
            messages = decoder.messages()
            assert (await next_of(VideoInfo, messages)).width == 64
            camera.change_size()
            while (changed := await next_of(VideoInfo, messages)).width == 64:
                pass
            await next_of(Snapshot, messages)
            jpeg = (await next_of(Snapshot, messages)).jpeg
            _, frames = await take(messages, 3)
    assert (changed.width, changed.height, changed.live) == (96, 48, True)
    assert all(frame.images.shape == (1, 32, 32, 3) for frame in frames)
    # The size stands in the frame header of the JPEG: height, then width.
    at = jpeg.index(b"\xff\xc0") + 5
    assert jpeg[at : at + 4] == (48).to_bytes(2, "big") + (96).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("stamp", "makes_timelines"),
    [
        pytest.param(lambda made_s, half_seconds: made_s + 100.0 * half_seconds, True, id="leap ahead"),
        pytest.param(lambda made_s, half_seconds: made_s - 100.0 * half_seconds, True, id="go back"),
        pytest.param(lambda made_s, _: made_s * 1000.0, True, id="run away"),
        pytest.param(lambda made_s, _: made_s - made_s % 0.2 * 2, False, id="run backwards"),
        pytest.param(lambda made_s, _: made_s - made_s % 1.0, False, id="stand still"),
        pytest.param(lambda made_s, _: 47_721.0 + made_s % 2.0, False, id="wrap around"),
        pytest.param(lambda made_s, _: made_s * 0.84, False, id="run slow"),
        pytest.param(lambda made_s, _: made_s * 0.5, False, id="run at half speed"),
        pytest.param(lambda made_s, _: made_s * 8000 / 90_000, False, id="tick at another rate"),
    ],
)
async def test_media_time_follows_the_wall_clock_for_any_timestamps_of_a_camera(
    camera: RtspServer, stamp: Callable[[float, int], float], makes_timelines: bool
) -> None:
    began_s: list[float] = []

    def restamp(made_s: float) -> float:
        began_s.append(made_s)
        return stamp(made_s, int((made_s - began_s[0]) * 2))

    async with restamping_proxy(camera.port, restamp) as port:
        url = camera.url("fast").replace(str(camera.port), str(port))
        started_s = time.monotonic()
        async with start_decoder(request(url), LOOPBACK) as decoder:
            _, frames = await take(decoder.messages(), 19)
        passed_s = time.monotonic() - started_s
    # However busy the machine is, media time cannot run ahead of the wall clock.
    assert 1.7 < frames[-1].pts_s - frames[0].pts_s < passed_s
    assert all(before.pts_s < after.pts_s for before, after in pairwise(frames))
    assert (sum(frame.is_new_timeline for frame in frames[1:]) > 0) == makes_timelines


async def test_a_reader_that_is_slow_gets_the_newest_frame_and_the_rest_is_counted(camera: RtspServer) -> None:
    async with start_decoder(request(camera.url("fast")), LOOPBACK) as decoder:
        messages = decoder.messages()
        times_s: list[float] = []
        dropped = 0
        while len(times_s) < 4:
            message = await anext(messages)
            if isinstance(message, DecodedFrame):
                times_s.append(message.pts_s)
                # As long as five frames of the detector; the next frame is requested after that.
                await asyncio.sleep(0.5)
            elif isinstance(message, Dropped):
                dropped += message.frames.get("newer_frame", 0)
    assert dropped > 0
    assert all(after_s > before_s for before_s, after_s in pairwise(times_s))
    # Without a frame left out, three steps are 0.3 s.
    assert times_s[-1] - times_s[0] > 0.9


async def test_a_decoder_that_was_held_up_says_how_late_its_frames_are_and_catches_up(camera: RtspServer) -> None:
    async with start_decoder(request(camera.url("fast")), LOOPBACK) as decoder:
        messages = decoder.messages()
        await take(messages, 5)
        os.kill(decoder.pid, signal.SIGSTOP)
        await asyncio.sleep(1.0)
        os.kill(decoder.pid, signal.SIGCONT)
        _, frames = await take(messages, 20)
    ages_s = sorted(frame.arrived_unix_s - frame.pts_s for frame in frames)
    # The clock of a process that a busy machine interrupts may be read late.
    assert ages_s[-4] - ages_s[3] < 0.5
    assert all(after.pts_s > before.pts_s for before, after in pairwise(frames))


async def test_a_later_connection_continues_in_the_media_time_of_the_session(camera: RtspServer) -> None:
    zero_s = time.monotonic() - 160.0
    async with start_decoder(request(camera.url("slow"), after_s=100.0, zero_s=zero_s), LOOPBACK) as decoder:
        _, frames = await take(decoder.messages(), 3)
    assert 160 < frames[0].pts_s < time.monotonic() - zero_s


async def next_of(kind: type[T], messages: AsyncIterator[Message]) -> T:
    async for message in messages:
        if isinstance(message, kind):
            return message
    raise AssertionError("no more messages")
