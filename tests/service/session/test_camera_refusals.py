"""Cameras that cannot be used, refuse, redirect or are slow to send a keyframe."""

import dataclasses
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from model.video.errors import VideoError
from service.decoder.process import start_decoder
from service.sources.address_policy import AddressPolicy, read_nameservers
from service.sources.sources import SourceForbiddenError
from tests.support.live_decoding import LOOPBACK, failure, request, take
from tests.support.restamping_proxy import restamping_proxy
from tests.support.rtsp_server import RtspServer, rtsp_server
from tests.support.scripted_rtmp import CONNECTED, NO_APPLICATION, NOT_FOUND, STREAM_CREATED, scripted_rtmp
from tests.support.scripted_rtsp import DESCRIBED, scripted_rtsp


@pytest.fixture(scope="module")
def camera() -> Iterator[RtspServer]:
    with rtsp_server() as server:
        yield server


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
        assert (await failure(camera.url("slow"), timeout_s=1.0)).code == "source_timeout"
    assert (await failure(camera.url("slow"))).code == "source_unreachable"
    assert (await failure("srt://127.0.0.1:9/")).code == "source_unsupported"


REFUSALS = {
    "only UDP": ({"DESCRIBE": DESCRIBED, "SETUP": "461 Unsupported Transport"}, "source_unsupported", '"udp"'),
    "only SHA-256": (
        {"DESCRIBE": '401 Unauthorized\r\nWWW-Authenticate: Digest realm="camera", nonce="1", algorithm=SHA-256'},
        "source_unauthorized",
        "SHA-256",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_the_error_of_a_camera_that_refuses_names_the_setting_to_change(refusal: str) -> None:
    replies, code, says = REFUSALS[refusal]
    with scripted_rtsp(replies) as (host, _):
        error = await failure(f"rtsp://user:pass@{host}/v")
    assert error.code == code
    assert says in error.detail


@pytest.mark.parametrize("replies", [[CONNECTED, STREAM_CREATED, NOT_FOUND], [NO_APPLICATION]])
async def test_a_broadcast_that_is_not_published_is_not_called_a_file(replies: list[bytes]) -> None:
    with scripted_rtmp(*replies) as url:
        error = await failure(url)
    assert error.code == "source_unreachable"
    assert "Check that it is published" in error.detail


async def test_a_redirect_of_a_camera_is_followed(camera: RtspServer) -> None:
    moved = {"DESCRIBE": f"302 Moved\r\nLocation: {camera.url('slow')}"}
    with scripted_rtsp(moved) as (host, _):
        async with start_decoder(request(f"rtsp://{host}/v"), LOOPBACK) as decoder:
            _, frames = await take(decoder.messages(), 2)
    assert len(frames) == 2


async def test_a_redirect_of_a_camera_leads_to_no_address_that_is_not_permitted() -> None:
    policy = AddressPolicy((ip_network("127.0.0.1/32"),), read_nameservers())
    with scripted_rtsp({"DESCRIBE": DESCRIBED}, "127.0.0.2") as (inside, requests):
        with scripted_rtsp({"DESCRIBE": f"301 Moved\r\nLocation: rtsp://{inside}/v"}) as (outside, _):
            asked = request(f"rtsp://{outside}/v")
            with pytest.raises(SourceForbiddenError):
                async with start_decoder(asked, policy) as decoder:
                    await take(decoder.messages(), 1)
        assert requests == []


async def test_a_keyframe_is_waited_for_while_packets_arrive(camera: RtspServer) -> None:
    """Longer than for a camera that is silent: this one sends a keyframe every 8 s, and the first one is lost."""
    began_s: list[float] = []

    def lose_the_first_keyframe(made_s: float) -> float | None:
        began_s.append(made_s)
        return None if made_s - began_s[0] < 0.5 else made_s

    for keyframe_timeout_s in (2.0, 60.0):
        began_s.clear()
        async with restamping_proxy(camera.port, lose_the_first_keyframe) as port:
            url = camera.url("seldom").replace(str(camera.port), str(port))
            asked = dataclasses.replace(request(url), keyframe_timeout_s=keyframe_timeout_s)
            async with start_decoder(asked, LOOPBACK) as decoder:
                if keyframe_timeout_s < 8.0:
                    with pytest.raises(VideoError, match="no keyframe within 2 s"):
                        await take(decoder.messages(), 1)
                else:
                    _, frames = await take(decoder.messages(), 3)
    assert len(frames) == 3
