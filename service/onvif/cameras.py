"""The cameras of a network: asks each device for its streams, and chooses the one that suits a model."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import httpx

from service.onvif.device import OnvifDevice
from service.onvif.discovery import FoundDevice
from service.onvif.profiles import Profile, best_profiles
from service.onvif.soap import Credentials, OnvifError

MAX_ASKED = 32
"""How many devices are asked at the same time."""
MAX_STREAMS = 8
"""Largest number of streams of a camera whose addresses are requested."""


@dataclass(frozen=True)
class CameraStream:
    """A stream of a camera. `url` has user and password, if the device was asked with them."""

    profile: Profile
    url: str


@dataclass(frozen=True)
class FoundCamera:
    """A video source of a device, and its streams: the one that suits best comes first."""

    name: str
    device_url: str
    streams: tuple[CameraStream, ...]


@dataclass(frozen=True)
class Wish:
    """What a stream should have: pixels of both sides, and frames per second. `all_streams`: list the others, too."""

    least_side: int
    sample_hz: float
    all_streams: bool = False


async def find_cameras(
    devices: Sequence[FoundDevice], login: Credentials | None, wish: Wish
) -> tuple[list[FoundCamera], list[str]]:
    """Cameras with names of their own, and a sentence for each device that could not be asked."""
    places = asyncio.Semaphore(MAX_ASKED)
    # Cameras have self-signed certificates; only a digest of the password is sent.
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:

        async def cameras_of(device: FoundDevice) -> list[FoundCamera] | str:
            try:
                async with places:
                    return await _cameras_of(device, client, login, wish)
            except OnvifError as error:
                return f"{device.name} ({device.url}): {error}"

        found = await asyncio.gather(*map(cameras_of, devices))
    cameras = [camera for answer in found if not isinstance(answer, str) for camera in answer]
    return _named(cameras), [answer for answer in found if isinstance(answer, str)]


async def _cameras_of(
    found: FoundDevice, client: httpx.AsyncClient, login: Credentials | None, wish: Wish
) -> list[FoundCamera]:
    """Raises OnvifError."""
    device = OnvifDevice(client, found.url, login)
    await device.open()
    profiles = await device.profiles()
    best = best_profiles(profiles, least_side=wish.least_side, sample_hz=wish.sample_hz)
    cameras: list[FoundCamera] = []
    for number, chosen in enumerate(best, start=1):
        others = [each for each in profiles if each.source == chosen.source and each is not chosen]
        wanted = [chosen, *(others[: MAX_STREAMS - 1] if wish.all_streams else ())]
        streams = tuple([CameraStream(each, await device.stream_url(each)) for each in wanted])
        cameras.append(FoundCamera(found.name if len(best) == 1 else f"{found.name} {number}", found.url, streams))
    return cameras


def _named(cameras: Sequence[FoundCamera]) -> list[FoundCamera]:
    """Make names unique, as lists of cameras require: most cameras are named after their model."""
    count: dict[str, int] = {}
    for camera in cameras:
        count[camera.name] = count.get(camera.name, 0) + 1
    taken: set[str] = set()
    named = []
    for camera in cameras:
        host = urlsplit(camera.streams[0].url).hostname
        name = camera.name if count[camera.name] == 1 else f"{camera.name} {host}"
        number = 1
        while name in taken:
            number += 1
            name = f"{camera.name} {host} {number}"
        taken.add(name)
        named.append(replace(camera, name=name))
    return named
