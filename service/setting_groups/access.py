"""Authentication by API key, and the limits of new keys."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from service.access.keys import Limits
from service.setting_groups.group import SettingGroup
from service.setting_groups.syntax import COMMA_SEPARATED


class AccessSettings(SettingGroup):
    """Authentication: API keys, and under which names and from which pages the server is used."""

    auth: Literal["auto", "required", "off"] = Field(
        default="auto",
        examples=["required"],
        description="`auto`: keys are required once a key exists; until then only loopback addresses are served."
        " `required`: always. `off`: never, for a trusted network or behind a proxy that authenticates.",
    )
    allowed_hosts: Annotated[tuple[str, ...], *COMMA_SEPARATED] = Field(
        default=(),
        examples=["cake.example.org,cake.internal"],
        description="Host names under which this server answers, besides `localhost` and IP addresses. Without"
        " authentication it answers under no others; with it, the default is to answer under any name.",
    )
    allowed_origins: Annotated[tuple[str, ...], *COMMA_SEPARATED] = Field(
        default=(),
        examples=["https://app.example.org,https://example.net"],
        description="Origins of other pages that may use the API (CORS) and open WebSockets. This server's own pages"
        " always may.",
    )
    key_max_sessions: int = Field(
        default=16,
        ge=0,
        examples=["16"],
        description="Default session limit of a new key; ended sessions do not count.",
    )
    key_requests_per_s: float = Field(
        default=50.0, gt=0, examples=["50"], description="Default rate limit of a new key, for each server process."
    )
    key_max_stored_bytes: int = Field(
        default=20 * 1024**3,
        ge=0,
        examples=["21474836480"],
        description="Default storage quota of a new key, over all its uploads.",
    )

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#*@\sA-Z]+", origin):
                raise ValueError(
                    f"{origin!r} is not an origin: give scheme, host in lower case and port if it is not the default,"
                    " without a path. `*` is not supported, since every page on the web could then use this server"
                )
        return origins

    @property
    def key_limits(self) -> Limits:
        """Limits of a new key that is created without its own."""
        return Limits(
            max_sessions=self.key_max_sessions,
            requests_per_s=self.key_requests_per_s,
            max_stored_bytes=self.key_max_stored_bytes,
        )
