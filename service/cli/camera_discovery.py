"""`cake cameras discover`: the cameras of a network that speak ONVIF, and the stream of each that suits a model."""

from __future__ import annotations

import csv
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.terminal import FAILED, MISUSED, fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.onvif.cameras import FoundCamera
    from service.onvif.soap import Credentials

PASSWORD = "CAKE_CAMERA_PASSWORD"
LEAST_SIDE, SAMPLE_HZ = 112, 10.0
"""The most that the shipped models take."""


def discover(
    user: Annotated[
        str | None,
        typer.Option(
            help=f"User of the cameras. The password comes from {PASSWORD}, or is asked for.", show_default=False
        ),
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="IPv4 address of this machine in the cameras' network.", show_default=False
        ),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST[:PORT]", help="Ask this host instead of the network; may be repeated."),
    ] = None,
    least_side: Annotated[int, typer.Option(min=1, help="Least width and height of a stream, in pixels.")] = LEAST_SIDE,
    sample_hz: Annotated[
        float, typer.Option(min=0, help="Least frame rate of a stream, in frames per second.")
    ] = SAMPLE_HZ,
    within_s: Annotated[float, typer.Option(min=0.1, max=60, help="How long to wait for answers.")] = 3.0,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a list for `cake cameras start`; it contains the password.")
    ] = False,
) -> None:
    """Find cameras with ONVIF, and choose the smallest stream of each that is large and fast enough for a model.

    Exit status 1: no camera was found, or one did not answer; the others are printed.
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
        writer.writerows((camera.name, camera.streams[0].url) for camera in cameras)
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
    """Cameras, and a sentence for each device that did not answer."""
    from service.onvif.cameras import Wish, find_cameras
    from service.onvif.discovery import discover_devices

    try:
        devices = await discover_devices(within_s=within_s, interface=interface, hosts=hosts)
    except OSError as error:
        fail(f"the network cannot be asked: {error.strerror or error}", FAILED)
    return await find_cameras(devices, login, Wish(least_side, sample_hz))


def _print(cameras: Sequence[FoundCamera]) -> None:
    from service.cli.tables import print_table
    from service.sources.sources import redact

    rows = []
    for camera in cameras:
        profile, url = camera.streams[0].profile, camera.streams[0].url
        rate = "" if profile.rate_hz is None else f"{profile.rate_hz:g}"
        size = f"{profile.width}x{profile.height}"
        rows.append((camera.name, profile.name, size, rate, profile.encoding, redact(url)))
    print_table(("name", "stream", "size", "frames/s", "codec", "address"), rows, numbers=("size", "frames/s"))
