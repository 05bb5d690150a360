"""A decoder process that reads a camera on the loopback interface."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import SecretStr

from model.video.errors import VideoError
from model.video.info import VideoInfo
from service.decoder.process import DecodedFrame, FrameRun, Message, start_decoder
from service.decoder.protocol import DecodeRequest
from service.schemas import Transport
from service.sources.address_policy import AddressPolicy, read_nameservers
from service.sources.authorities import PUBLIC_AUTHORITIES
from service.sources.sources import openable
from service.sources.stored import StoredUrl

LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"),), read_nameservers())
SAMPLE_HZ = 10.0


def request(
    url: str,
    *,
    transport: Transport = "tcp",
    timeout_s: float = 60.0,
    after_s: float | None = None,
    zero_s: float = 0.0,
) -> DecodeRequest:
    """Decode ten frames a second of a live source on this machine."""
    source = openable(StoredUrl(url=SecretStr(url), transport=transport), Path(), LOOPBACK, PUBLIC_AUTHORITIES)
    return DecodeRequest(
        *(source.address, source.options, SAMPLE_HZ, 32, "fast", after_s, 1.0, timeout_s), zero_s=zero_s or None
    )


async def take(messages: AsyncIterator[Message], count: int) -> tuple[list[VideoInfo], list[DecodedFrame]]:
    """What it opened, and at least so many first frames."""
    infos: list[VideoInfo] = []
    frames: list[DecodedFrame] = []
    async for message in messages:
        if isinstance(message, VideoInfo):
            infos.append(message)
        elif isinstance(message, DecodedFrame | FrameRun):
            frames += message.frames if isinstance(message, FrameRun) else [message]
            if len(frames) >= count:
                break
    return infos, frames


async def failure(url: str, timeout_s: float = 60.0) -> VideoError:
    """The error with which the source fails."""
    with pytest.raises(VideoError) as caught:
        async with start_decoder(request(url, timeout_s=timeout_s), LOOPBACK) as decoder:
            await take(decoder.messages(), 1000)
    return caught.value
