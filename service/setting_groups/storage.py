"""What is stored where, and for how long."""

from pathlib import Path

from pydantic import Field

from service.setting_groups.group import SettingGroup
from service.setting_groups.syntax import MAX_KEEP_S


class StorageSettings(SettingGroup):
    """Storage: folders, databases, buckets, and how long sessions are kept."""

    data_dir: Path = Field(
        default=Path("data"),
        examples=["/var/lib/cake"],
        description="Folder of the database, uploads and snapshots. A relative path starts at the working directory.",
    )
    store_url: str | None = Field(
        default=None,
        examples=["redis://redis:6379/0"],
        description="Where sessions, events and keys are stored: `sqlite:///PATH`, or a Redis URL, which several"
        " machines can share. The default is `cake.db` in the data folder.",
    )
    blob_url: str | None = Field(
        default=None,
        examples=["s3://cake/videos"],
        description="Bucket for uploads and snapshots, as `s3://BUCKET/PREFIX`; required when several machines share a"
        " store. Endpoint and credentials come from the AWS_ variables. The default is the data folder.",
    )
    model_bucket: str | None = Field(
        default=None,
        pattern="^s3://[^/?#]+(/[^?#]*)?$",
        examples=["s3://models/released"],
        description="Bucket, or folder in one, from which `PUT /v1/models/{name}` reads models that it is given as"
        " `s3://…`. Endpoint and credentials come from the AWS_ variables. By default models are only uploaded.",
    )
    keep_ended_s: float = Field(
        default=30 * 24 * 3600.0,
        ge=0,
        le=MAX_KEEP_S,
        examples=["604800"],
        description="Age at which ended sessions are deleted with everything that belongs to them; 0 keeps them."
        " Webhooks are retried for a day, but only until their session is deleted.",
    )
    min_free_bytes: int = Field(
        default=512 * 1024**2,
        ge=0,
        examples=["1073741824"],
        description="Uploads are refused while less disk space than this is free, so that the database can grow.",
    )
    delete_oldest_when_full: bool = Field(
        default=False,
        examples=["true"],
        description="Delete the sessions that ended first while less than CAKE_MIN_FREE_BYTES is free.",
    )
    scores_keep_s: float = Field(
        default=3600.0, gt=0, examples=["3600"], description="Media time for which each session keeps its scores."
    )

    @property
    def resolved_store_url(self) -> str:
        """Address of the store, with the default filled in."""
        return self.store_url or f"sqlite://{self.data_dir.resolve() / 'cake.db'}"

    @property
    def metrics_dir(self) -> Path:
        """Files of the worker processes' metrics (prometheus_client's multiprocess mode)."""
        return self.data_dir / "metrics"
