"""A decoder reaches its source and nothing else, wherever a name, a redirect or a playlist leads."""

import asyncio
from ipaddress import ip_network
from pathlib import Path

import pytest

from model.video.errors import VideoError
from service.decoder.process import Ended, start_decoder
from service.decoder.protocol import DecodeRequest
from service.sources.address_policy import PUBLIC_ONLY, AddressPolicy, read_nameservers
from service.sources.sources import SourceForbiddenError
from tests.support.made_videos import write_video
from tests.support.video_server import serve_answer, serve_folder

CAMERAS = AddressPolicy((ip_network("127.0.0.1/32"),), read_nameservers())
"""Servers under test listen on 127.0.0.1; 127.0.0.2 represents the internal network."""
PROTOCOLS = {"protocol_whitelist": "http,https,tls,tcp,crypto"}


async def decode(address: str, policy: AddressPolicy, options: dict[str, str] = PROTOCOLS) -> Ended:
    request = DecodeRequest(address, options, 10.0, 32, "fast", None, 0.0, 5.0)
    async with start_decoder(request, policy) as decoder:
        messages = [message async for message in decoder.messages()]
    assert isinstance(messages[-1], Ended)
    return messages[-1]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    return write_video(path, count=30, format_options={"movflags": "+faststart"}).read_bytes()


async def test_a_private_address_is_not_reached_unless_it_is_allowed(video: bytes) -> None:
    with serve_answer("127.0.0.1", video) as (server, visits):
        with pytest.raises(SourceForbiddenError, match="CAKE_SOURCE_ALLOW"):
            await decode(f"{server}/v.mp4", PUBLIC_ONLY)
        assert visits == []
        await decode(f"{server}/v.mp4", CAMERAS)
        assert set(visits) == {"/v.mp4"}


async def test_a_name_is_checked_by_the_addresses_it_resolves_to(video: bytes) -> None:
    with serve_answer("127.0.0.1", video) as (server, visits):
        url = server.replace("127.0.0.1", "localhost") + "/v.mp4"
        with pytest.raises(SourceForbiddenError):
            await decode(url, AddressPolicy((ip_network("127.0.0.2/32"),), read_nameservers()))
        assert visits == []
        await decode(url, CAMERAS)


@pytest.mark.parametrize("path", ["/latest/meta-data/", "/v.mp4"])
async def test_a_redirect_leads_to_no_address_that_is_not_permitted(video: bytes, path: str) -> None:
    with (
        serve_answer("127.0.0.2", video) as (inside, inner_visits),
        serve_answer("127.0.0.1", location=inside + path) as (outside, outer_visits),
    ):
        with pytest.raises(SourceForbiddenError):
            await decode(f"{outside}/v.mp4", CAMERAS)
        assert outer_visits
        assert inner_visits == []


@pytest.mark.parametrize("location", ["file:///etc/hosts", "concat:/etc/hosts", "data:text/plain,x", "unix:/a"])
async def test_a_redirect_leads_to_no_other_protocol(location: str) -> None:
    with serve_answer("127.0.0.1", location=location) as (outside, _), pytest.raises(VideoError):
        await decode(f"{outside}/v.mp4", CAMERAS)


@pytest.mark.parametrize("kind", ["segment", "playlist", "key", "map"])
async def test_a_playlist_leads_to_no_address_that_is_not_permitted(kind: str, tmp_path: Path) -> None:
    with serve_answer("127.0.0.2") as (inside, visits), serve_folder(tmp_path) as host:
        line = {
            "segment": f"#EXTINF:1,\n{inside}/s.ts\n#EXT-X-ENDLIST",
            "playlist": f"#EXT-X-STREAM-INF:BANDWIDTH=1000\n{inside}/inner.m3u8",
            "key": f'#EXT-X-KEY:METHOD=AES-128,URI="{inside}/k"\n#EXTINF:1,\nhttp://{host}/s.ts\n#EXT-X-ENDLIST',
            "map": f'#EXT-X-MAP:URI="{inside}/i.mp4"\n#EXTINF:1,\nhttp://{host}/s.m4s\n#EXT-X-ENDLIST',
        }[kind]
        (tmp_path / "v.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{line}\n")
        (tmp_path / "s.ts").write_bytes(b"G" * 188 * 10)
        (tmp_path / "s.m4s").write_bytes(b"0" * 100)
        with pytest.raises(SourceForbiddenError):
            await decode(f"http://{host}/v.m3u8", CAMERAS)
        assert visits == []


@pytest.mark.parametrize("target", ["file://{file}", "{file}", "concat:{file}", "subfile,,start,0,end,9,,:{file}"])
@pytest.mark.parametrize("uploaded", [True, False])
async def test_a_playlist_leads_to_no_file(target: str, uploaded: bool, tmp_path: Path, video: bytes) -> None:
    playlist, file = tmp_path / "v.m3u8", tmp_path / "v.mp4"
    file.write_bytes(video)
    line = target.format(file=file)
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{line}\n#EXT-X-ENDLIST\n")
    with serve_folder(tmp_path) as host:
        address = str(playlist) if uploaded else f"http://{host}/v.m3u8"
        with pytest.raises(VideoError):
            await decode(address, CAMERAS, {} if uploaded else PROTOCOLS)


async def test_concurrent_decoders_have_separate_connections(video: bytes) -> None:
    with serve_answer("127.0.0.1", video) as (server, _):
        ended = await asyncio.gather(*(decode(f"{server}/v.mp4", CAMERAS) for _ in range(4)))
    assert len(ended) == 4
