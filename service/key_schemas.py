"""The HTTP API's data types of API keys, and of who sends a request."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from service.access.scopes import Scope
from service.access.sight import MetadataLimit, require_limitable
from service.schemas import BodySchema, Schema

_SCOPES, _MAX_SESSIONS = "What it allows.", "Sessions that have not ended at the same time."
_REQUESTS_PER_S, _MAX_STORED_BYTES = (
    "Average rate at each server process.",
    "Total size of the uploads of its sessions.",
)
_METADATA = (
    "Limits it to sessions, submitted by any key, whose metadata have one of these values for each of these names; "
    "null: it sees the sessions that it submitted, or with `admin` all."
)
_METADATA_EXAMPLES: list[object] = [{"site": ["north"]}]
_EXPIRES_AT = "When it stops working; null: never."
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
MaxSessions = Annotated[int, Field(ge=0, le=2**53)]
RequestsPerS = Annotated[float, Field(gt=0, le=1e9)]
MaxStoredBytes = Annotated[int, Field(ge=0, le=2**53)]


class KeyRequest(BodySchema):
    """A key to create. What is left out has the default of the server's settings."""

    name: str = Field(
        min_length=1, max_length=100, description="Who or what uses the key; no other active key has the name."
    )
    scopes: Scopes = Field(description=_SCOPES)
    metadata: MetadataLimit | None = Field(default=None, description=_METADATA, examples=_METADATA_EXAMPLES)
    max_sessions: MaxSessions | None = Field(default=None, description=_MAX_SESSIONS)
    requests_per_s: RequestsPerS | None = Field(default=None, description=_REQUESTS_PER_S)
    max_stored_bytes: MaxStoredBytes | None = Field(default=None, description=_MAX_STORED_BYTES)
    expires_at: AwareDatetime | None = Field(default=None, description=_EXPIRES_AT)

    @model_validator(mode="after")
    def _is_limitable(self) -> Self:
        require_limitable(self.scopes, self.metadata)
        return self


class KeyChange(BodySchema):
    """What to change of a key; what is left out stays."""

    scopes: Scopes | None = Field(default=None, description=_SCOPES)
    metadata: MetadataLimit | None = Field(default=None, description=_METADATA, examples=_METADATA_EXAMPLES)
    max_sessions: MaxSessions | None = Field(default=None, description=_MAX_SESSIONS)
    requests_per_s: RequestsPerS | None = Field(default=None, description=_REQUESTS_PER_S)
    max_stored_bytes: MaxStoredBytes | None = Field(default=None, description=_MAX_STORED_BYTES)
    expires_at: AwareDatetime | None = Field(default=None, description=_EXPIRES_AT)
    revoked: Literal[False] | None = Field(
        default=None, description="`false` lets a person in again whose key was revoked; other keys stay revoked."
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("names nothing to change")
        return self


class KeyInfo(Schema):
    """A key, without its secret."""

    id: str = Field(description="Public id.")
    name: str = Field(description="Who or what uses it.")
    kind: Literal["key", "person"] = Field(
        description="`person`: it stands for a person, and has the scopes and limits of their role."
    )
    issuer: str | None = Field(description="Who authenticates the person: URL of the identity provider, or `proxy`.")
    scopes: list[Scope] = Field(description=_SCOPES)
    metadata: MetadataLimit | None = Field(description=_METADATA, examples=_METADATA_EXAMPLES)
    max_sessions: int = Field(description=_MAX_SESSIONS)
    requests_per_s: float = Field(description=_REQUESTS_PER_S)
    max_stored_bytes: int = Field(description=_MAX_STORED_BYTES)
    created_at: datetime = Field(description="When it was created, or when the person first signed in.")
    expires_at: datetime | None = Field(description="When it stops working.")
    revoked_at: datetime | None = Field(description="When it was revoked; a person cannot sign in from then on.")
    last_used_at: datetime | None = Field(description="When it was last used, to the minute.")


class KeyList(Schema):
    """The keys of a server."""

    keys: list[KeyInfo] = Field(description="Oldest first, including revoked ones.")


class CreatedKey(KeyInfo):
    """A new key with its secret."""

    key: str = Field(description="The key as requests send it. It is not shown again.")


class RevokedKey(KeyInfo):
    """A key that was revoked."""

    sessions_stopped: int = Field(description="Sessions of the key that were asked to stop.")


class Identity(Schema):
    """Who sends a request, and how people sign in."""

    kind: Literal["key", "person", "anyone"] | None = Field(
        description="`key` or `person`: what authenticates the request; `anyone`: nothing is required; null: nothing"
        " valid was sent."
    )
    id: str | None = Field(description="Id of the key, which a person has, too: owner of the sessions that it submits.")
    name: str | None = Field(description="Name of the key or person.")
    scopes: list[Scope] = Field(description="What the caller may do; empty for `anyone`, who may do everything.")
    metadata: MetadataLimit | None = Field(
        description="The caller sees sessions with such metadata, submitted by any key; null: those that the caller "
        "submitted, or with `admin` or as `anyone` all.",
        examples=_METADATA_EXAMPLES,
    )
    sign_in: str | None = Field(
        description="Where a browser signs in, relative to the page; null without an identity provider."
    )
    sign_out: str | None = Field(description="Where the page signs out (POST); null if the caller did not sign in.")
