"""A session's source as it is stored, with its secrets; `service.schemas` has the redacted form that callers see."""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from service.schemas import NamedRegion, Transport

StoredSecret = Annotated[SecretStr, PlainSerializer(SecretStr.get_secret_value, return_type=str, when_used="json")]
"""A string that `repr` and `str` hide. JSON holds its value: it is written to the store only, never to an answer."""


class StoredModel(BaseModel):
    """Base of stored types. Unknown fields are ignored: a newer version may have written them."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


_SINCE_0_2 = frozenset({"stream", "live", "regions"})


class _StoredVideo(StoredModel):
    stream: int | None = None
    """Number of the video stream to analyse, from 0; None for the best one."""
    regions: tuple[NamedRegion, ...] | None = None
    """Parts of the displayed frame to analyse separately; None for the whole frame. Here, and not in the record,
    because version 0.1 would ignore them there and analyse the whole frame: it cannot read a source with regions."""

    @model_serializer(mode="wrap", when_used="json")
    def _without_new_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Version 0.1 rejects fields that it lacks, so those are written only when they are set."""
        written: dict[str, object] = serialize(self)
        return {name: value for name, value in written.items() if name not in _SINCE_0_2 or value is not None}


class StoredUpload(_StoredVideo):
    """A video that was uploaded; its file is named after the session."""

    kind: Literal["upload"] = "upload"
    filename: str | None = None
    """The name that the client gave; never used as a path."""


class StoredUrl(_StoredVideo):
    """A video or camera behind a URL."""

    kind: Literal["url"] = "url"
    url: StoredSecret
    """The complete URL, with user, password and query."""
    transport: Transport = "tcp"
    max_down_s: float | None = None
    live: bool | None = None
    """Whether it is live according to the caller; None: to be detected."""


class StoredPush(_StoredVideo):
    """A stream that the client pushes."""

    kind: Literal["push"] = "push"
    max_down_s: float | None = None


StoredSource = Annotated[StoredUpload | StoredUrl | StoredPush, Field(discriminator="kind")]
