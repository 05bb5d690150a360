"""Authentication of people, by a proxy or an identity provider."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, IPvAnyNetwork, field_validator

from service.setting_groups.group import SettingGroup
from service.setting_groups.syntax import COMMA_SEPARATED

_HEADER = r"^[A-Za-z0-9-]+$"
_LOOPBACK_URL = re.compile(r"http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?(/.*)?")


class PeopleSettings(SettingGroup):
    """People: their roles, and who says who they are."""

    roles: Path | None = Field(
        default=None,
        examples=["/etc/cake/roles.json"],
        description="JSON file with the roles of people: which groups have which scopes and limits. Required with"
        " CAKE_IDENTITY_PROXIES and CAKE_OIDC_ISSUER.",
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(/[\w.~-]+)*$",
        examples=["https://example.org/cake"],
        description="Address under which browsers reach this server, with the path of CAKE_ROOT_PATH. Required with"
        " CAKE_OIDC_ISSUER.",
    )
    identity_proxies: Annotated[tuple[IPvAnyNetwork, ...], *COMMA_SEPARATED] = Field(
        default=(),
        examples=["10.0.0.7/32"],
        description="Proxies that authenticate people and name them in the headers below. These headers are ignored in "
        "other requests. By default, no proxy is trusted.",
    )
    identity_user_header: str = Field(
        default="X-Forwarded-User",
        pattern=_HEADER,
        examples=["Remote-User"],
        description="Header in which a proxy names the person.",
    )
    identity_groups_header: str = Field(
        default="X-Forwarded-Groups",
        pattern=_HEADER,
        examples=["Remote-Groups"],
        description="Header in which a proxy lists the person's groups, separated by commas.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        pattern=r"^https?://[^?#@\s]+$",
        examples=["https://login.example.org/realms/site"],
        description="Identity provider (OpenID Connect) with which people sign in on the page. Requires the extra"
        " `oidc`.",
    )
    oidc_client_id: str | None = Field(
        default=None, examples=["cake"], description="Id of this server's client at the identity provider."
    )
    oidc_client_secret_file: Path | None = Field(
        default=None,
        examples=["/run/secrets/oidc"],
        description="File with the client's secret. Without it, the client is a public one, which PKCE protects.",
    )
    oidc_scopes: Annotated[tuple[str, ...], *COMMA_SEPARATED] = Field(
        default=("openid", "profile", "email"),
        examples=["openid,profile,groups"],
        description="Scopes that are requested of the identity provider.",
    )
    oidc_groups_claim: str = Field(
        default="groups", examples=["roles"], description="Claim that lists a person's groups."
    )
    oidc_audience: str | None = Field(
        default=None,
        examples=["cake-api"],
        description="Audience of the provider's access tokens (JWT) that programs may send in place of an API key. By"
        " default none are accepted.",
    )
    sign_in_s: float = Field(
        default=8 * 3600.0,
        gt=0,
        le=30 * 24 * 3600.0,
        examples=["28800"],
        description="How long a person stays signed in. Changes of their groups at the provider take effect with the"
        " next sign-in.",
    )

    @field_validator("oidc_issuer", "public_url")
    @classmethod
    def _has_tls(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith("https://") and not _LOOPBACK_URL.fullmatch(url):
            raise ValueError(f"{url!r} must begin with https://, except on this machine: tokens and cookies are secret")
        return url

    @field_validator("roles")
    @classmethod
    def _lists_roles(cls, path: Path | None) -> Path | None:
        if path is not None:
            # Every command reads settings, and few servers have roles.
            from service.identity.roles import read_roles

            read_roles(path)
        return path

    @property
    def identifies_people(self) -> bool:
        """Whether people are authenticated by a proxy or an identity provider."""
        return bool(self.identity_proxies or self.oidc_issuer)
