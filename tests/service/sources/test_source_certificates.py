"""Over TLS a source shows a certificate for its name, of an authority that is public or that the operator named."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import SecretStr

from model.video.errors import VideoError
from service.decoder.process import DecodedFrame, start_decoder
from service.decoder.protocol import DecodeRequest
from service.sources.address_policy import AddressPolicy, read_nameservers
from service.sources.authorities import (
    PUBLIC_AUTHORITIES,
    AuthoritiesUnusableError,
    read_authorities,
    write_authorities,
)
from service.sources.sources import openable
from service.sources.stored import StoredUrl
from tests.support.certificates import certificate_for
from tests.support.made_videos import write_video
from tests.support.rtsp_server import rtsp_server
from tests.support.video_server import serve_answer

LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"),), read_nameservers())
Serve = Callable[[Path], AbstractContextManager[str]]


@contextmanager
def https(certificate: Path) -> Iterator[str]:
    video = write_video(certificate.with_name("v.mp4"), count=30, format_options={"movflags": "+faststart"})
    with serve_answer("127.0.0.1", video.read_bytes(), certificate=certificate) as (server, _):
        yield f"{server}/v.mp4"


@contextmanager
def rtsps(certificate: Path) -> Iterator[str]:
    with rtsp_server(certificate) as server:
        yield server.url("slow")


async def first_frame(url: str, authorities: Path) -> DecodedFrame:
    """Opened as the service does. Raises VideoError."""
    source = openable(StoredUrl(url=SecretStr(url)), Path(), LOOPBACK, authorities)
    asked = DecodeRequest(source.address, source.options, 10.0, 32, "fast", None, 0.0, 60.0)
    async with start_decoder(asked, LOOPBACK) as decoder:
        async for message in decoder.messages():
            if isinstance(message, DecodedFrame):
                return message
    raise AssertionError("no frame")


@pytest.mark.parametrize("serve", [https, rtsps])
async def test_a_certificate_that_the_source_signed_itself_is_trusted_once_the_operator_names_it(
    serve: Serve, tmp_path: Path
) -> None:
    own, authorities = certificate_for("IP:127.0.0.1", tmp_path), tmp_path / "authorities.pem"
    with serve(own) as url:
        with pytest.raises(VideoError) as caught:
            await first_frame(url, PUBLIC_AUTHORITIES)
        assert caught.value.code == "source_unreachable"
        write_authorities(own, authorities)
        assert (await first_frame(url, authorities)).images.shape == (1, 32, 32, 3)


@pytest.mark.parametrize("serve", [https, rtsps])
async def test_a_certificate_for_another_name_is_not_trusted_though_its_authority_is(
    serve: Serve, tmp_path: Path
) -> None:
    other, authorities = certificate_for("DNS:camera.example.org", tmp_path), tmp_path / "authorities.pem"
    write_authorities(other, authorities)
    with serve(other) as url, pytest.raises(VideoError) as caught:
        await first_frame(url, authorities)
    assert caught.value.code == "source_unreachable"


def test_named_authorities_join_the_public_ones_and_leave_no_other_file(tmp_path: Path) -> None:
    own, authorities = certificate_for("IP:127.0.0.1", tmp_path), tmp_path / "data" / "authorities.pem"
    authorities.parent.mkdir()
    for _ in range(2):
        write_authorities(own, authorities)
    count = read_authorities(authorities).count("BEGIN CERTIFICATE")
    assert count == PUBLIC_AUTHORITIES.read_text().count("BEGIN CERTIFICATE") + 1
    assert "PRIVATE KEY" not in authorities.read_text()
    assert list(authorities.parent.iterdir()) == [authorities]


@pytest.mark.parametrize("content", [None, b"", b"not a certificate", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nAA"])
def test_a_file_without_certificates_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AuthoritiesUnusableError, match=r"own\.pem"):
        read_authorities(path)
