"""Live sources over HTTP and RTMP are read at their own pace, and reconnected when they end."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from statistics import median

import av
import pytest
from pydantic import SecretStr

from model.video.errors import VideoError
from model.video.info import VideoInfo
from model.video.media_time import slot
from service.decoder.process import DecodedFrame, Ended, start_decoder
from service.decoder.protocol import DecodeRequest
from service.sources.address_policy import AddressPolicy, read_nameservers
from service.sources.authorities import PUBLIC_AUTHORITIES
from service.sources.sources import openable
from service.sources.stored import StoredUrl
from tests.support.live_servers import ENDLESS, RATE_HZ, broadcast, http_camera
from tests.support.made_videos import write_video
from tests.support.video_server import serve_handler

# For a source to start on a busy machine.
PATIENCE_S = 60.0
LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"),), read_nameservers())


def decode_request(
    url: str, *, live: bool | None = None, seen_until_s: float | None = None, timeout_s: float = PATIENCE_S
) -> DecodeRequest:
    source = openable(StoredUrl(url=SecretStr(url)), Path(), LOOPBACK, PUBLIC_AUTHORITIES)
    return DecodeRequest(
        *(source.address, source.options, RATE_HZ, 32, "fast", None, 0.0, timeout_s),
        live=live,
        was_live=seen_until_s is not None,
        seen_until_s=seen_until_s,
    )


async def play(
    url: str,
    count: int = 25,
    *,
    live: bool | None = None,
    seen_until_s: float | None = None,
    timeout_s: float = PATIENCE_S,
    frames: list[DecodedFrame] | None = None,
) -> tuple[VideoInfo, list[DecodedFrame], bool]:
    """What it is, its first frames, and whether it had ended by then."""
    frames = [] if frames is None else frames
    asked = decode_request(url, live=live, seen_until_s=seen_until_s, timeout_s=timeout_s)
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


# A third of the distance between two frames: on a busy machine, frames come late, and media time follows some of them.
TOLERANCE_S = 0.03


def assert_regular(frames: list[DecodedFrame]) -> None:
    """Frames come at most at the rate that was asked for, in the source's own distances, and with the time of each.

    On a busy machine some frames are missing.
    """
    slots = [slot(frame.pts_s, RATE_HZ) for frame in frames]
    assert slots == sorted(set(slots))
    zeros_s = [frame.arrived_unix_s - frame.pts_s for frame in frames]
    assert median(abs(zero_s - median(zeros_s)) for zero_s in zeros_s) < TOLERANCE_S
    stretched_s = [
        (after.pts_s - before.pts_s) - (after.timestamp_s - before.timestamp_s)
        for before, after in pairwise(frames)
        if before.timestamp_s is not None and after.timestamp_s is not None
    ]
    assert not stretched_s or median(map(abs, stretched_s)) < TOLERANCE_S


async def test_hls_without_an_end_is_live_and_played_at_its_own_pace(host: str) -> None:
    info, frames, has_ended = await play(f"{host}/live.m3u8", count=35)
    assert (info.codec, info.width, info.live, info.duration_s) == ("h264", 64, True, None)
    # Segments arrive whole and early: three of them at once, then one per second.
    assert not has_ended
    assert_regular(frames)


async def test_hls_with_an_end_is_a_file_and_goes_as_fast_as_it_can(host: str) -> None:
    info, frames, has_ended = await play(f"{host}/ended.m3u8", count=1000)
    assert (info.live, info.duration_s, has_ended) == (False, 3.0, True)
    assert [round(frame.pts_s * RATE_HZ) for frame in frames] == list(range(30))


async def test_motion_jpeg_is_timed_by_its_arrival(host: str) -> None:
    info, frames, _ = await play(f"{host}/camera")
    assert (info.codec, info.rate_hz, info.live) == ("mjpeg", None, True)
    assert_regular(frames)


async def test_a_broadcast_over_rtmp_is_live() -> None:
    with broadcast() as url:
        info, frames, _ = await play(url)
        assert (info.codec, info.width, info.live) == ("h264", 64, True)
        assert_regular(frames)


@pytest.mark.parametrize("suffix", ENDLESS)
async def test_a_broadcast_over_http_is_live_in_every_container(host: str, suffix: str) -> None:
    urls = (f"{host}/endless.{suffix}{transfer}" for transfer in ("", "?chunked"))
    for info, frames, has_ended in await asyncio.gather(*map(play, urls)):
        assert (info.codec, info.live, info.duration_s, has_ended) == ("h264", True, None, False)
        assert_regular(frames)


async def test_a_file_over_http_that_states_its_duration_is_a_file_though_its_size_is_not_known(tmp_path: Path) -> None:
    for name, options in (("v.mkv", {}), ("v.mp4", {"movflags": "+faststart"})):
        video = write_video(tmp_path / name, count=30, format_options=options).read_bytes()
        with serve_handler(without_length(video)) as server:
            info, frames, has_ended = await play(f"http://{server}/{name}", count=1000)
        assert (info.live, has_ended, len(frames)) == (False, True, 10)


async def test_an_answer_in_chunks_that_breaks_off_is_not_the_end_of_a_file(tmp_path: Path) -> None:
    for name, options in (("v.mkv", {}), ("v.mp4", {"movflags": "+faststart"})):
        video = write_video(tmp_path / name, count=90, format_options=options).read_bytes()
        with serve_handler(in_chunks(video[: len(video) // 2])) as server, pytest.raises(VideoError) as caught:
            await play(f"http://{server}/{name}", count=1000)
        assert caught.value.code == "source_unreachable"
        with serve_handler(in_chunks(video, is_whole=True)) as server:
            info, frames, has_ended = await play(f"http://{server}/{name}", count=1000)
        assert (info.live, has_ended, len(frames)) == (False, True, 30)


async def test_the_caller_says_what_a_source_without_a_length_is(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.ts", count=30).read_bytes()
    with serve_handler(without_length(video)) as server:
        for stated in (None, True):
            with pytest.raises(VideoError) as caught:
                await play(f"http://{server}/v.ts", count=1000, live=stated)
            assert caught.value.code == "source_unreachable"
        info, frames, has_ended = await play(f"http://{server}/v.ts", count=1000, live=False)
        assert (info.live, has_ended, len(frames)) == (False, True, 10)


def in_chunks(content: bytes, *, is_whole: bool = False) -> type[BaseHTTPRequestHandler]:
    """Serves content in chunks; the last one, which is empty, is missing unless it `is_whole`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
            if is_whole:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

    return Handler


def without_length(content: bytes) -> type[BaseHTTPRequestHandler]:
    """Serves content as programs do that make it while they send it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

    return Handler


@pytest.mark.slow
async def test_a_playlist_that_stopped_is_not_analysed_again_after_a_reconnect(host: str) -> None:
    async def until_it_is_silent(seen_until_s: float | None) -> list[float]:
        frames: list[DecodedFrame] = []
        with pytest.raises(VideoError) as caught:
            await play(f"{host}/stale.m3u8", 1000, seen_until_s=seen_until_s, timeout_s=10.0, frames=frames)
        assert caught.value.code == "source_timeout"
        return [frame.timestamp_s for frame in frames if frame.timestamp_s is not None]

    times_s = await until_it_is_silent(None)
    assert len(times_s) > 20
    again_s, nothing = await asyncio.gather(until_it_is_silent(times_s[14]), until_it_is_silent(times_s[-1]))
    assert again_s
    assert min(again_s) > times_s[14]
    assert nothing == []


async def test_the_end_of_a_playlist_ends_a_live_session(host: str) -> None:
    async with start_decoder(decode_request(f"{host}/ended.m3u8", seen_until_s=1.0), LOOPBACK) as decoder:
        messages = [message async for message in decoder.messages()]
    assert messages == [Ended((), is_final=True)]


async def test_only_the_analysed_variant_is_downloaded() -> None:
    visits: list[str] = []
    with http_camera(visits) as host:
        await play(f"{host}/master.m3u8", count=80)
    segments = [path for path in visits if path.endswith(".ts")]
    # While it probes, FFmpeg reads all variants; how long that takes depends on the machine.
    assert {path.split("/")[1] for path in segments[-4:]} == {"v0"}


async def test_segments_need_no_extension(host: str) -> None:
    info, frames, _ = await play(f"{host}/unnamed.m3u8")
    assert (info.codec, info.live) == ("h264", True)
    assert_regular(frames)


async def test_media_time_continues_across_a_discontinuity_of_a_playlist(host: str) -> None:
    async with start_decoder(decode_request(f"{host}/discontinuity.m3u8"), LOOPBACK) as decoder:
        info, *frames, ended = [message async for message in decoder.messages()]
    assert isinstance(info, VideoInfo)
    assert not info.live
    assert [round(frame.pts_s * RATE_HZ) for frame in frames if isinstance(frame, DecodedFrame)] == list(range(60))
    assert ended == Ended(("Clock restarts in the video: 1. After each, time continues from the frame before.",))


@pytest.mark.slow
async def test_a_broadcast_that_continues_under_other_numbers_is_opened_again_while_it_sends(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", count=60)
    numbers = {"mpegts_start_pid": "512", "mpegts_pmt_start_pid": "4097"}
    first, other = (remuxed(video, tmp_path / "v.ts", options) for options in ({}, numbers))
    was_left = threading.Event()

    class Broadcast(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                for data in itertools.chain([first], itertools.repeat(other)):
                    self.wfile.write(data)
                    time.sleep(0.05)
            except (BrokenPipeError, ConnectionResetError):
                was_left.set()

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

    frames: list[DecodedFrame] = []
    with serve_handler(Broadcast) as server:
        with pytest.raises(VideoError) as caught:
            await play(f"http://{server}/", 1000, timeout_s=10.0, frames=frames)
        # Not a time limit: the source sends.
        assert (caught.value.code, frames != []) == ("source_unreachable", True)
        assert await asyncio.to_thread(was_left.wait, PATIENCE_S)


def remuxed(video: Path, target: Path, options: dict[str, str]) -> bytes:
    """The video of an MP4 as a transport stream."""
    with av.open(str(video)) as source, av.open(str(target), "w", options=options) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    return target.read_bytes()
