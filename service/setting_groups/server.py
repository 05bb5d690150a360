"""What the HTTP server offers and accepts."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import Field, IPvAnyNetwork

from service.setting_groups.group import SettingGroup
from service.setting_groups.syntax import COMMA_SEPARATED


class ServerSettings(SettingGroup):
    """Server: its address, proxies in front of it, and limits."""

    host: str = Field(default="127.0.0.1", examples=["0.0.0.0"], description="Address that `cake serve` listens on.")
    port: int = Field(
        default=8000, ge=0, le=65535, examples=["8000"], description="Port of `cake serve`; 0 picks a free port."
    )
    root_path: str = Field(
        default="",
        pattern=r"^(/[\w.~-]+)*$",
        examples=["/cake"],
        description="Path prefix under which a proxy serves this server. Links in responses start with it. The proxy"
        " may strip the prefix or pass it on.",
    )
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], *COMMA_SEPARATED] = Field(
        default=(IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        examples=["10.0.0.0/8"],
        description="Proxies whose headers X-Forwarded-For and X-Forwarded-Proto are trusted.",
    )
    keep_alive_s: float = Field(
        default=75.0,
        gt=0,
        examples=["75"],
        description="How long an idle HTTP connection is kept open. It must exceed the idle timeout of a load balancer"
        " in front, usually 60 s.",
    )
    max_upload_bytes: int = Field(
        default=2 * 1024**3, gt=0, examples=["2147483648"], description="Largest accepted upload."
    )
    max_model_bytes: int = Field(
        default=512 * 1024**2,
        gt=0,
        examples=["536870912"],
        description="Largest accepted model, in bytes of its files. Reading it takes several times as much memory.",
    )
    max_uploaded_models: int = Field(
        default=10,
        ge=0,
        examples=["10"],
        description="Versions of uploaded models that are kept, and loaded by every worker; 0 accepts none.",
    )
    max_streams: int = Field(
        default=500,
        ge=1,
        examples=["500"],
        description="Event streams, long polls and pushed streams that one API key may hold open on this server."
        " Without keys the limit applies to each client address.",
    )
    deliver_webhooks: bool = Field(
        default=True,
        examples=["true"],
        description="Whether this server delivers events to webhooks and subscriptions.",
    )
    max_subscriptions: int = Field(
        default=50,
        ge=0,
        le=1000,
        examples=["50"],
        description="Subscriptions that one API key may have; without keys, the limit applies to all subscriptions "
        "together. A store holds at most 1000.",
    )
