"""The only reader of the environment: variables with the prefix `CAKE_`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.setting_groups.access import AccessSettings
from service.setting_groups.clips import ClipSettings
from service.setting_groups.logs import LogSettings
from service.setting_groups.people import PeopleSettings
from service.setting_groups.server import ServerSettings
from service.setting_groups.sources import SourceSettings
from service.setting_groups.storage import StorageSettings
from service.setting_groups.syntax import PREFIX, variable
from service.setting_groups.workers import WorkerSettings
from service.sources.authorities import PUBLIC_AUTHORITIES


class Settings(
    StorageSettings,
    ServerSettings,
    LogSettings,
    AccessSettings,
    PeopleSettings,
    SourceSettings,
    ClipSettings,
    WorkerSettings,
    BaseSettings,
):
    """Everything that an operator may set. Sizes are in bytes, times in seconds, rates in Hz.

    The groups hold the fields and what depends on one group only. The first example of a field is quoted in error
    messages.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    @model_validator(mode="after")
    def _can_identify_people(self) -> Self:
        by = "identity_proxies" if self.identity_proxies else "oidc_issuer" if self.oidc_issuer else None
        if by is None:
            return self
        if self.auth == "off":
            raise ValueError(f"{variable(by)} has no effect with {variable('auth')}=off, which lets everyone in")
        needed = ("roles", "oidc_client_id", "public_url") if self.oidc_issuer else ("roles",)
        missing = [variable(name) for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{variable(by)} also needs {' and '.join(missing)}")
        if self.public_url is not None and urlsplit(self.public_url).path != self.root_path:
            raise ValueError(f"the path of {variable('public_url')} must be that of {variable('root_path')}")
        if self.oidc_issuer and self.oidc_audience == self.oidc_client_id:
            raise ValueError(
                f"{variable('oidc_audience')} must differ from {variable('oidc_client_id')}: ID tokens have the latter"
                " as audience, and are not meant for APIs"
            )
        return self

    @property
    def authorities(self) -> Path:
        """PEM file of the trusted certificate authorities; with `source_ca`, servers and workers write it."""
        return self.data_dir / "authorities.pem" if self.source_ca else PUBLIC_AUTHORITIES

    @property
    def audit_path(self) -> Path:
        """The file of the audit log."""
        return self.audit_log or self.data_dir / "audit.jsonl"

    def environ(self) -> dict[str, str]:
        """These settings as environment variables, for a child process."""
        dumped = self.model_dump(mode="json", exclude_none=True)
        return {
            variable(name): value if isinstance(value, str) else json.dumps(value) for name, value in dumped.items()
        }


SECTIONS: Mapping[str, type[BaseModel]] = {
    "Storage": StorageSettings,
    "Server": ServerSettings,
    "Logs, metrics and traces": LogSettings,
    "Authentication": AccessSettings,
    "People": PeopleSettings,
    "Sources": SourceSettings,
    "Clips": ClipSettings,
    "Models and workers": WorkerSettings,
}
"""The groups of settings by their titles, in the order in which they are printed."""
