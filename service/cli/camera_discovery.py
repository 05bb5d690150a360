"""`cake cameras discover`: the cameras of a network that speak ONVIF, and the stream of each that suits a model."""

from __future__ import annotations

import csv
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.terminal import FAILED, MISUSED, fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from service.onvif.discovery import FoundDevice
    from service.onvif.profiles import Profile
    from service.onvif.soap import Credentials

PASSWORD = "CAKE_CAMERA_PASSWORD"
LEAST_SIDE, SAMPLE_HZ = 112, 10.0
"""What the models that ship take at most."""
MAX_ASKED = 32
"""Devices that are asked at a time."""


@dataclass(frozen=True)
class FoundCamera:
    """A video source of a device, and its stream that suits best."""

    name: str
    url: str
    """With user and password."""
    profile: Profile


def discover(
    user: Annotated[
        str | None,
        typer.Option(
            help=f"User of the cameras. The password comes from {PASSWORD}, or is asked for.", show_default=False
        ),
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Own IPv4 address in the network of the cameras.", show_default=False),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST[:PORT]", help="Ask this host instead of the network; may be repeated."),
    ] = None,
    least_side: Annotated[int, typer.Option(min=1, help="Pixels that width and height should have.")] = LEAST_SIDE,
    sample_hz: Annotated[float, typer.Option(min=0, help="Frames a second that a stream should have.")] = SAMPLE_HZ,
    within_s: Annotated[float, typer.Option(min=0.1, max=60, help="How long to wait for answers.")] = 3.0,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a list for `cake cameras start`; it contains the password.")
    ] = False,
) -> None:
    """Find cameras with ONVIF, and choose the smallest stream of each that has the pixels and frames of a model.

    Exit status 1: none was found, or one could not be asked; the others are printed.
    """
    import asyncio

    hosts = [_host(text) for text in probe or ()]
    login = None if user is None else _credentials(user)
    cameras, problems = asyncio.run(_found(hosts, interface, login, least_side, sample_hz, within_s))
    for problem in problems:
        typer.echo(f"cake: {problem}", err=True)
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("name", "url"))
        writer.writerows((camera.name, camera.url) for camera in cameras)
    elif cameras:
        _print(cameras)
    if not cameras and not problems:
        hint = "check its address; WS-Discovery uses UDP port 3702" if hosts else "give --interface or --probe HOST"
        fail(f"no camera has answered; {hint}", FAILED)
    if problems:
        raise typer.Exit(FAILED)


def _host(text: str) -> tuple[str, int]:
    from service.onvif.discovery import PORT

    host, _, port = text.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        fail(f"--probe: expected HOST or HOST:PORT, not {text!r}", MISUSED)
    return host, int(port) if port else PORT


def _credentials(user: str) -> Credentials:
    from service.onvif.soap import Credentials

    return Credentials(user, os.environ.get(PASSWORD) or typer.prompt("Password", hide_input=True, err=True))


async def _found(
    hosts: Sequence[tuple[str, int]],
    interface: str | None,
    login: Credentials | None,
    least_side: int,
    sample_hz: float,
    within_s: float,
) -> tuple[list[FoundCamera], list[str]]:
    """Cameras, and a sentence for each device that could not be asked."""
    import asyncio

    import httpx

    from service.onvif.discovery import discover as discover_devices
    from service.onvif.soap import OnvifError

    try:
        devices = await discover_devices(within_s=within_s, interface=interface, hosts=hosts)
    except OSError as error:
        fail(f"the network cannot be asked: {error.strerror or error}", FAILED)
    places = asyncio.Semaphore(MAX_ASKED)
    # Cameras have self-signed certificates; only a digest of the password is sent.
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:

        async def cameras_of(device: FoundDevice) -> list[FoundCamera] | str:
            try:
                async with places:
                    return await _cameras_of(device, client, login, least_side, sample_hz)
            except OnvifError as error:
                return f"{device.name} ({device.url}): {error}"

        found = await asyncio.gather(*map(cameras_of, devices))
    cameras = [camera for answer in found if not isinstance(answer, str) for camera in answer]
    return _named(cameras), [answer for answer in found if isinstance(answer, str)]


async def _cameras_of(
    found: FoundDevice, client: httpx.AsyncClient, login: Credentials | None, least_side: int, sample_hz: float
) -> list[FoundCamera]:
    """Raises OnvifError."""
    from service.onvif.device import OnvifDevice
    from service.onvif.profiles import best_profiles

    device = OnvifDevice(client, found.url, login)
    await device.open()
    best = best_profiles(await device.profiles(), least_side=least_side, sample_hz=sample_hz)
    urls = [await device.stream_url(profile) for profile in best]
    names = [found.name if len(best) == 1 else f"{found.name} {number}" for number in range(1, len(best) + 1)]
    return [FoundCamera(name, url, profile) for name, url, profile in zip(names, urls, best, strict=True)]


def _named(cameras: Sequence[FoundCamera]) -> list[FoundCamera]:
    """Return them with unique names, which lists of cameras need: most cameras are named after their model."""
    from dataclasses import replace
    from urllib.parse import urlsplit

    count: dict[str, int] = {}
    for camera in cameras:
        count[camera.name] = count.get(camera.name, 0) + 1
    taken: set[str] = set()
    named = []
    for camera in cameras:
        name = camera.name if count[camera.name] == 1 else f"{camera.name} {urlsplit(camera.url).hostname}"
        number = 1
        while name in taken:
            number += 1
            name = f"{camera.name} {urlsplit(camera.url).hostname} {number}"
        taken.add(name)
        named.append(replace(camera, name=name))
    return named


def _print(cameras: Sequence[FoundCamera]) -> None:
    from service.cli.tables import print_table
    from service.sources.sources import redact

    rows = []
    for camera in cameras:
        profile = camera.profile
        rate = "" if profile.rate_hz is None else f"{profile.rate_hz:g}"
        size = f"{profile.width}x{profile.height}"
        rows.append((camera.name, profile.name, size, rate, profile.encoding, redact(camera.url)))
    print_table(("name", "stream", "size", "frames/s", "codec", "address"), rows, numbers=("size", "frames/s"))
