"""Roles: what people of a group may do. A JSON file lists them, the most powerful first."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from service.access.keys import Limits
from service.access.scopes import Scope
from service.access.sight import MetadataLimit, require_limitable

ANYONE = "*"
"""In place of a group: everyone who is authenticated."""


class RolesUnusableError(ValueError):
    """The file cannot be read, or is not a list of roles. The message says what is wrong."""


class Role(BaseModel):
    """What people of any of `groups` may do. Limits that are None are those of new keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    groups: Annotated[frozenset[str], Field(min_length=1)]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    metadata: MetadataLimit | None = None
    """Limits them to sessions, of everyone, with such metadata; None: they see the sessions that they submit."""
    max_sessions: Annotated[int, Field(ge=0)] | None = None
    requests_per_s: Annotated[float, Field(gt=0)] | None = None
    max_stored_bytes: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _is_limitable(self) -> Self:
        require_limitable(self.scopes, self.metadata)
        return self

    def limits(self, default: Limits) -> Limits:
        """The limits of each person with this role."""
        own = self.model_dump(include=set(Limits.model_fields), exclude_none=True)
        return default.model_copy(update=own)


_ROLES = TypeAdapter(tuple[Role, ...])


def read_roles(path: Path) -> tuple[Role, ...]:
    """The roles in a file. Raises RolesUnusableError."""
    try:
        roles = _ROLES.validate_json(path.read_bytes())
    except OSError as error:
        raise RolesUnusableError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RolesUnusableError(f"{path} is not a list of roles: {where or 'the file'}: {first['msg']}") from error
    if not roles:
        raise RolesUnusableError(f"{path} lists no role, so no one could sign in")
    return roles


def role_of(groups: Collection[str], roles: Sequence[Role]) -> Role | None:
    """The first role that one of the groups has.

    Roles are not combined: someone who may change the sessions of one place and watch those of another could otherwise
    change both.
    """
    return next((role for role in roles if ANYONE in role.groups or not role.groups.isdisjoint(groups)), None)
