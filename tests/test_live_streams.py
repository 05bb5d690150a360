"""Broadcasts over HTTP and RTMP are live, too: played at their own pace, and opened again when they end."""

import time
from collections.abc import Iterator
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path

import pytest
from live_servers import RATE_HZ, broadcast, http_camera

from model.video import VideoInfo
from service.authorities import PUBLIC_AUTHORITIES
from service.confinement.address_policy import AddressPolicy, read_nameservers
from service.decode_messages import DecodeRequest
from service.decoder_process import DecodedFrame, Ended, start_decoder
from service.schemas import UrlSource
from service.sources import openable

LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"),), read_nameservers())


async def play(url: str, count: int = 25) -> tuple[VideoInfo, list[DecodedFrame], bool]:
    """What it is, its first frames, and whether it had ended by then."""
    source = openable(UrlSource(url=url), Path(), LOOPBACK, PUBLIC_AUTHORITIES)
    asked = DecodeRequest(source.address, source.options, RATE_HZ, 32, "fast", None, 0.0, 5.0)
    frames: list[DecodedFrame] = []
    async with start_decoder(asked, LOOPBACK) as decoder:
        async for message in decoder.messages():
            if isinstance(message, VideoInfo):
                info = message
            elif isinstance(message, DecodedFrame):
                frames.append(message)
            if len(frames) == count or isinstance(message, Ended):
                break
    return info, frames, isinstance(message, Ended)


@pytest.fixture
def host() -> Iterator[str]:
    with http_camera() as server:
        yield server


def assert_regular(frames: list[DecodedFrame]) -> None:
    """One frame after the other, when it was taken."""
    steps_s = [after.pts_s - before.pts_s for before, after in pairwise(frames)]
    assert sorted(steps_s)[len(steps_s) // 2] == pytest.approx(1 / RATE_HZ, abs=0.03)
    passed_s = frames[-1].arrived_unix_s - frames[0].arrived_unix_s
    assert frames[-1].pts_s - frames[0].pts_s == pytest.approx(passed_s, abs=0.1)


async def test_hls_without_an_end_is_live_and_played_at_its_own_pace(host: str) -> None:
    info, frames, has_ended = await play(f"{host}/live.m3u8", count=35)
    assert (info.codec, info.width, info.live, info.duration_s) == ("h264", 64, True, None)
    # Segments come whole and early: three of them at once, then one each second.
    assert not has_ended
    assert_regular(frames)
    assert max(after.pts_s - before.pts_s for before, after in pairwise(frames)) < 0.5


async def test_hls_with_an_end_is_a_file_and_goes_as_fast_as_it_can(host: str) -> None:
    began_s = time.monotonic()
    info, frames, has_ended = await play(f"{host}/ended.m3u8", count=1000)
    assert (info.live, info.duration_s, has_ended) == (False, 3.0, True)
    assert [round(frame.pts_s * RATE_HZ) for frame in frames] == list(range(30))
    assert time.monotonic() - began_s < 20


async def test_motion_jpeg_is_timed_by_its_arrival(host: str) -> None:
    info, frames, _ = await play(f"{host}/camera")
    assert (info.codec, info.live) == ("mjpeg", True)
    assert_regular(frames)


async def test_a_broadcast_over_rtmp_is_live() -> None:
    with broadcast() as url:
        info, frames, _ = await play(url)
        assert (info.codec, info.width, info.live) == ("h264", 64, True)
        assert_regular(frames)
