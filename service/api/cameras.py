"""Find the cameras of the server's network with ONVIF: for administrators, and in allowed networks only."""

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

from fastapi import APIRouter

from service.api.authentication import Administrator
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.json_body import JsonRoute
from service.api.model_catalogue import default_model, loaded_models
from service.camera_schemas import Camera, CameraProfile, CameraSearch, FoundCameras
from service.errors import SourceRejectedError, UnknownModelError
from service.onvif.cameras import CameraStream, FoundCamera, Wish, find_cameras
from service.onvif.discovery import PORT, FoundDevice, discover_devices
from service.onvif.soap import Credentials
from service.server_schemas import ModelInfo
from service.sources.address_policy import IPNetwork

router = APIRouter(route_class=JsonRoute, tags=["sessions"], responses=problem_responses(*AUTH_STATUSES))


@router.post(
    "/v1/cameras:discover",
    summary="Find the cameras of the server's network with ONVIF",
    description="Lists their streams, and which one suits the model. Only devices in CAKE_SOURCE_ALLOW are asked for "
    "their streams, since sessions cannot use others. The password of the cameras is sent in the body, because it must "
    "not be part of a URL. A server runs one search at a time.",
    responses=problem_responses(403, 422, 503),
)
async def discover_cameras(context: SharedContext, caller: Administrator, search: CameraSearch) -> FoundCameras:
    allowed = context.settings.source_allow
    if not allowed:
        raise SourceRejectedError(
            "This server does not search for cameras, because it may not open any. The operator can allow their network"
            " with CAKE_SOURCE_ALLOW."
        )
    hosts = [_host_and_port(text) for text in search.hosts]
    if not all(_is_allowed(host, allowed) for host, _ in hosts):
        raise SourceRejectedError("`hosts` has an address outside the networks in CAKE_SOURCE_ALLOW.")
    model = await _model(context, search.model)
    wish = Wish(model.image_size, model.sample_hz, all_streams=True)
    context.audit.record("cameras.discover", caller.actor)
    async with context.discovery:
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


async def _model(context: Context, name: str | None) -> ModelInfo:
    """Raises UnknownModelError, NotReadyError."""
    models = await loaded_models(context.store)
    chosen = name or default_model(models, context.settings)
    if chosen not in models:
        raise UnknownModelError(
            f"There is no model {chosen!r}. `known` lists the available models.", known=sorted(models)
        )
    return models[chosen]


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
