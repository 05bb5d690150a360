"""A camera is opened, followed and kept up with: a decoder child and a real RTSP server."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
from restamping_proxy import restamping_proxy
from rtsp_server import RtspServer, rtsp_server

from model.video import VideoError, VideoInfo
from service.authorities import PUBLIC_AUTHORITIES
from service.confinement.address_policy import AddressPolicy, read_nameservers
from service.decode_messages import DecodeRequest
from service.decoder_process import DecodedFrame, Dropped, Ended, Snapshot, start_decoder
from service.schemas import Transport, UrlSource
from service.sources import openable

LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"),), read_nameservers())
SAMPLE_HZ = 10.0

T = TypeVar("T")
Message = VideoInfo | DecodedFrame | Dropped | Snapshot | Ended


@pytest.fixture(scope="module")
def camera() -> Iterator[RtspServer]:
    with rtsp_server() as server:
        yield server


def request(
    url: str, *, transport: Transport = "tcp", timeout_s: float = 5.0, after_s: float | None = None, zero_s: float = 0.0
) -> DecodeRequest:
    source = openable(UrlSource(url=url, transport=transport), Path(), LOOPBACK, PUBLIC_AUTHORITIES)
    return DecodeRequest(
        *(source.address, source.options, SAMPLE_HZ, 32, "fast", after_s, 1.0, timeout_s), zero_s=zero_s or None
    )


async def take(messages: AsyncIterator[Message], count: int) -> tuple[list[VideoInfo], list[DecodedFrame]]:
    """What it opened, and its first frames."""
    infos: list[VideoInfo] = []
    frames: list[DecodedFrame] = []
    async for message in messages:
        if isinstance(message, VideoInfo):
            infos.append(message)
        elif isinstance(message, DecodedFrame):
            frames.append(message)
            if len(frames) == count:
                break
    return infos, frames


async def failure(url: str, timeout_s: float = 5.0) -> VideoError:
    with pytest.raises(VideoError) as caught:
        async with start_decoder(request(url, timeout_s=timeout_s), LOOPBACK) as decoder:
            await take(decoder.messages(), 1000)
    return caught.value


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_camera_says_what_it_is_and_its_frames_come_as_they_are_taken(
    camera: RtspServer, transport: Transport
) -> None:
    async with start_decoder(request(camera.url("slow"), transport=transport), LOOPBACK) as decoder:
        [info], frames = await take(decoder.messages(), 16)
    assert info == VideoInfo("h264", 64, 48, 8.0, None, 0, live=True)
    assert all(frame.image.shape == (32, 32, 3) for frame in frames)
    # What queued up while the stream was probed is old, and collapses into the first picture.
    steps_s = [after.pts_s - before.pts_s for before, after in pairwise(frames[1:])]
    assert sum(steps_s) / len(steps_s) == pytest.approx(1 / 8, rel=0.2)
    assert not any(frame.is_new_timeline for frame in frames)


async def test_two_cameras_of_different_rates_are_sampled_alike(camera: RtspServer) -> None:
    async def seconds_for(path: str) -> tuple[float, float]:
        async with start_decoder(request(camera.url(path)), LOOPBACK) as decoder:
            [info], frames = await take(decoder.messages(), 20)
        assert info.rate_hz is not None
        return info.rate_hz, frames[-1].pts_s - frames[1].pts_s

    (slow_hz, slow_s), (fast_hz, fast_s) = await asyncio.gather(seconds_for("slow"), seconds_for("fast"))
    assert (slow_hz, fast_hz) == (8.0, 25.0)
    assert slow_s == pytest.approx(18 / 8, rel=0.15)
    assert fast_s == pytest.approx(18 / SAMPLE_HZ, rel=0.15)


@pytest.mark.parametrize(
    ("path", "user", "code", "says"),
    [
        ("slow", "user:wrong", "source_unauthorized", "password"),
        ("slow", "nobody:pass", "source_unauthorized", "password"),
        ("nothing", "user:pass", "source_unreachable", "path was not found"),
        ("sound", "user:pass", "no_video_stream", "no video"),
        ("strange", "user:pass", "source_unsupported", "codec"),
    ],
)
async def test_a_camera_that_cannot_be_used_says_why(
    camera: RtspServer, path: str, user: str, code: str, says: str
) -> None:
    error = await failure(camera.url(path, user=user))
    assert error.code == code
    assert says in error.detail
    assert user not in str(error)


async def test_a_host_that_is_not_there_is_unreachable_and_one_that_is_silent_times_out() -> None:
    with rtsp_server() as camera:
        camera.silence()
        began_s = time.monotonic()
        assert (await failure(camera.url("slow"), timeout_s=1.0)).code == "source_timeout"
        assert time.monotonic() - began_s < 10
    assert (await failure(camera.url("slow"))).code == "source_unreachable"
    assert (await failure("srt://127.0.0.1:9/")).code == "source_unsupported"


async def test_a_camera_that_falls_silent_times_out() -> None:
    with rtsp_server() as camera:
        async with start_decoder(request(camera.url("slow"), timeout_s=2.0), LOOPBACK) as decoder:
            messages = decoder.messages()
            await take(messages, 3)
            camera.silence()
            with pytest.raises(VideoError) as caught:
                await take(messages, 1000)
    assert caught.value.code == "source_timeout"


async def test_a_camera_that_dies_before_its_first_picture_is_taken_for_one_that_is_away() -> None:
    with rtsp_server() as camera:
        rare = request(camera.url("rare"))
        async with start_decoder(request(camera.url("fast")), LOOPBACK) as other, start_decoder(rare, LOOPBACK):
            messages = other.messages()
            # Meanwhile the one picture of this minute goes to a client that came before.
            await take(messages, 20)
            failing = asyncio.create_task(failure(camera.url("rare"), timeout_s=20.0))
            # Meanwhile this one connects, and waits for a picture.
            await take(messages, 20)
            camera.stop()
            assert (await failing).code == "source_unreachable"


async def test_pictures_may_change_their_size_in_mid_stream() -> None:
    with rtsp_server() as camera:
        async with start_decoder(request(camera.url("fast")), LOOPBACK) as decoder:
            messages = decoder.messages()
            assert (await next_of(VideoInfo, messages)).width == 64
            camera.change_size()
            changed = await next_of(VideoInfo, messages)
            await next_of(Snapshot, messages)
            jpeg = (await next_of(Snapshot, messages)).jpeg
            _, frames = await take(messages, 3)
    assert (changed.width, changed.height, changed.live) == (96, 48, True)
    assert all(frame.image.shape == (32, 32, 3) for frame in frames)
    # The size stands in the frame header of the JPEG: height, then width.
    at = jpeg.index(b"\xff\xc0") + 5
    assert jpeg[at : at + 4] == (48).to_bytes(2, "big") + (96).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("stamp", "timelines"),
    [
        pytest.param(lambda made_s, half_seconds: made_s + 100.0 * half_seconds, range(2, 6), id="leap ahead"),
        pytest.param(lambda made_s, half_seconds: made_s - 100.0 * half_seconds, range(2, 6), id="go back"),
        pytest.param(lambda made_s, _: made_s * 1000.0, range(10, 20), id="run away"),
        pytest.param(lambda made_s, _: made_s - made_s % 0.2 * 2, [0], id="run backwards"),
        pytest.param(lambda made_s, _: made_s - made_s % 1.0, [0], id="stand still"),
        pytest.param(lambda made_s, _: 47_721.0 + made_s % 2.0, [0], id="wrap around"),
    ],
)
async def test_media_time_is_that_on_the_wall_whatever_a_camera_stamps(
    camera: RtspServer, stamp: Callable[[float, int], float], timelines: Sequence[int]
) -> None:
    began_s: list[float] = []

    def restamp(made_s: float) -> float:
        began_s.append(made_s)
        return stamp(made_s, int((made_s - began_s[0]) * 2))

    async with restamping_proxy(camera.port, restamp) as port:
        url = camera.url("fast").replace(str(camera.port), str(port))
        async with start_decoder(request(url), LOOPBACK) as decoder:
            messages = decoder.messages()
            _, [first] = await take(messages, 1)
            first_s = time.monotonic()
            _, frames = await take(messages, 18)
            passed_s = time.monotonic() - first_s
    assert frames[-1].pts_s - first.pts_s == pytest.approx(passed_s, abs=0.3)
    assert all(0 < after.pts_s - before.pts_s < 0.4 for before, after in pairwise([first, *frames]))
    assert sum(frame.is_new_timeline for frame in frames) in timelines


async def test_a_reader_that_is_slow_gets_the_newest_frame_and_the_rest_is_counted(camera: RtspServer) -> None:
    async with start_decoder(request(camera.url("fast")), LOOPBACK) as decoder:
        messages = decoder.messages()
        ages_s: list[float] = []
        dropped = 0
        while len(ages_s) < 4:
            message = await anext(messages)
            if isinstance(message, DecodedFrame):
                ages_s.append(time.time() - message.arrived_unix_s)
                # As long as five frames of the detector.
                await asyncio.sleep(0.5)
            elif isinstance(message, Dropped):
                dropped += message.frames.get("newer_frame", 0)
    assert dropped >= 6
    assert max(ages_s) < 0.4


async def test_a_decoder_that_was_held_up_says_how_late_its_frames_are_and_catches_up(camera: RtspServer) -> None:
    async with start_decoder(request(camera.url("fast")), LOOPBACK) as decoder:
        messages = decoder.messages()
        await take(messages, 5)
        os.kill(decoder.pid, signal.SIGSTOP)
        await asyncio.sleep(1.0)
        os.kill(decoder.pid, signal.SIGCONT)
        _, frames = await take(messages, 20)
    ages_s = [frame.arrived_unix_s - frame.pts_s for frame in frames]
    assert max(ages_s) - min(ages_s) < 0.2
    assert all(after.pts_s > before.pts_s for before, after in pairwise(frames))


async def test_a_later_connection_goes_on_in_the_time_of_the_session(camera: RtspServer) -> None:
    asked = request(camera.url("slow"), after_s=100.0, zero_s=time.monotonic() - 160.0)
    async with start_decoder(asked, LOOPBACK) as decoder:
        _, frames = await take(decoder.messages(), 3)
    assert 160 < frames[0].pts_s < 175


async def next_of(kind: type[T], messages: AsyncIterator[Message]) -> T:
    async for message in messages:
        if isinstance(message, kind):
            return message
    raise AssertionError("no more messages")
