"""Searches the server's network for cameras, in the networks that the server may use."""

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

from service.camera_schemas import Camera, CameraProfile, CameraSearch, FoundCameras
from service.errors import SourceRejectedError
from service.onvif.cameras import CameraStream, FoundCamera, Wish, find_cameras
from service.onvif.discovery import PORT, FoundDevice, discover_devices
from service.onvif.soap import Credentials
from service.server_schemas import ModelInfo
from service.sources.address_policy import IPNetwork


def hosts_to_ask(search: CameraSearch, allowed: Sequence[IPNetwork]) -> list[tuple[str, int]]:
    """The hosts and ports that are named. Raises SourceRejectedError for one outside the `allowed` networks."""
    hosts = [_host_and_port(text) for text in search.hosts]
    if not all(_is_allowed(host, allowed) for host, _ in hosts):
        raise SourceRejectedError("`hosts` has an address outside the networks in CAKE_SOURCE_ALLOW.")
    return hosts


async def search_cameras(
    search: CameraSearch, hosts: Sequence[tuple[str, int]], model: ModelInfo, allowed: Sequence[IPNetwork]
) -> FoundCameras:
    """The cameras in `allowed` networks; of the streams of each, the one that suits the model best comes first."""
    wish = Wish(model.image_size, model.sample_hz, all_streams=True)
    try:
        answered = await discover_devices(within_s=search.within_s, interface=None, hosts=hosts)
    except OSError as error:
        reason = error.strerror or str(error)
        return FoundCameras(cameras=[], problems=[f"The network of the server cannot be asked: {reason}."])
    devices = [device for device in answered if _is_allowed(_host(device), allowed)]
    cameras, problems = await find_cameras(devices, _login(search), wish)
    outside = [device for device in answered if device not in devices]
    problems += [f"{device.name} ({device.url}): its address is not in CAKE_SOURCE_ALLOW" for device in outside]
    return FoundCameras(cameras=[_camera(camera) for camera in cameras], problems=problems)


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port or PORT)


def _host(device: FoundDevice) -> str:
    return urlsplit(device.url).hostname or ""


def _is_allowed(host: str, allowed: Sequence[IPNetwork]) -> bool:
    """Whether it is an address in one of the networks. Names are not accepted, since they may lead anywhere."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address.version == network.version and address in network for network in allowed)


def _login(search: CameraSearch) -> Credentials | None:
    if search.user is None:
        return None
    return Credentials(search.user, "" if search.password is None else search.password.get_secret_value())


def _camera(camera: FoundCamera) -> Camera:
    profiles = [_profile(stream, is_suitable=number == 0) for number, stream in enumerate(camera.streams)]
    return Camera(name=camera.name, device_url=camera.device_url, profiles=profiles)


def _profile(stream: CameraStream, *, is_suitable: bool) -> CameraProfile:
    parts, profile = urlsplit(stream.url), stream.profile
    return CameraProfile(
        name=profile.name,
        url=urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
        codec=profile.encoding,
        width=profile.width,
        height=profile.height,
        rate_hz=profile.rate_hz,
        is_suitable=is_suitable,
    )
