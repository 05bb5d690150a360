"""Uploaded models as the store keeps them. Their files are in the blob storage."""

from datetime import datetime

from service.server_schemas import ModelInfo
from service.sources.stored import StoredModel


class UploadedModel(StoredModel):
    """One version of an uploaded model."""

    info: ModelInfo
    """With the name under which it was uploaded, and the fingerprint of its content as version."""
    size_bytes: int
    uploaded_at: datetime
    """When this content was last uploaded. If there are several versions, new sessions use the newest."""
    is_shadow: bool = False
    """Whether it only follows live sessions of the model, until it is promoted; new sessions do not use it."""
    uploaded_by: str | None = None
    """Id of the API key; None when authentication was off."""

    @property
    def key(self) -> str:
        """The name under which workers announce it, and by which its files and sessions are found."""
        return model_key(self.info.name, self.info.version)


def model_key(name: str, version: str) -> str:
    """The key of a version of an uploaded model. Its name has no `@`."""
    return f"{name}@{version}"
