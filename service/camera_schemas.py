"""The HTTP API's data types of cameras that are found in the server's network."""

from ipaddress import IPv4Address
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from service.schemas import BodySchema, Schema

MAX_HOSTS = 32


def _with_address(text: str) -> str:
    """Raises ValueError."""
    host, colon, port = text.partition(":")
    try:
        IPv4Address(host)
    except ValueError as error:
        raise ValueError(f"{text[:50]!r} is not an IPv4 address, or one with `:PORT`") from error
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise ValueError(f"{text[:50]!r} has no port from 1 to 65535")
    return text


class CameraSearch(BodySchema):
    """Which cameras to look for, and how to ask them for their streams."""

    user: str | None = Field(
        default=None, max_length=100, description="User of the cameras; viewing rights are enough."
    )
    password: SecretStr | None = Field(
        default=None, description="Password of the user. It is not stored, and only digests of it are sent."
    )
    model: str | None = Field(default=None, description="Model whose size and rate the chosen stream should suit.")
    hosts: list[Annotated[str, AfterValidator(_with_address)]] = Field(
        default=[],
        max_length=MAX_HOSTS,
        description="Ask these hosts instead of the server's network: IPv4 addresses in CAKE_SOURCE_ALLOW, each with "
        "`:PORT` if its WS-Discovery does not use UDP port 3702.",
        examples=[["192.168.2.20"]],
    )
    within_s: float = Field(default=3.0, ge=0.1, le=10.0, description="How long to wait for answers, in seconds.")


class CameraProfile(Schema):
    """A stream that a camera offers."""

    name: str = Field(description="Name of the stream on the camera.")
    url: str = Field(description="RTSP address, without user and password.")
    codec: str = Field(description="Codec, as the camera names it.")
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    rate_hz: float | None = Field(description="Maximum frame rate; null if the camera does not report it.")
    is_suitable: bool = Field(description="Whether it suits the model best among the streams of the camera.")


class Camera(Schema):
    """A camera, or a channel of a recorder."""

    name: str = Field(description="Its name, unique among the cameras found.")
    device_url: str = Field(description="Address of the device that has it.")
    profiles: list[CameraProfile] = Field(description="Its streams, the suitable one first.")


class FoundCameras(Schema):
    """The cameras that answered in time."""

    cameras: list[Camera] = Field(description="Cameras, by the address of their device.")
    problems: list[str] = Field(
        description="A sentence for each device that answered the search, but not the requests for its streams."
    )
