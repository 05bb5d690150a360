"""Models of a server and their shadow versions: the types of responses, and the requests."""

import io
import os
import tarfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from cake_client.calls import Call, session_path
from cake_client.models import Model

REQUIRED, OPTIONAL = ("model.json", "model.safetensors"), ("scores.json", "README.md")
UPLOAD_TIMEOUT_S = 300.0
"""The server reads all weights before it answers."""


class ServedModel(Model):
    """A model that sessions can use. `origin` is `configured` or `uploaded`."""

    name: str
    version: str
    labels: tuple[str, ...]
    sample_hz: float
    image_size: int
    origin: str = "configured"
    warnings: tuple[str, ...] = ()


class ModelList(Model):
    """The models that sessions can use, by name, and the default model."""

    default: str
    models: tuple[ServedModel, ...]


class ModelOnWorker(Model):
    """`state` is `loaded`, `absent` or `failed`; `detail` says why it failed."""

    worker: str
    state: str
    detail: str | None = None


class ModelShadow(Model):
    """The version of a model that follows live sessions without publishing anything."""

    version: str
    uploaded_at: datetime
    workers: tuple[ModelOnWorker, ...] = ()


class ModelDetail(ServedModel):
    """A model with its card in Markdown, and its state on each worker."""

    workers: tuple[ModelOnWorker, ...]
    card: str | None = None
    size_bytes: int | None = None
    uploaded_at: datetime | None = None
    shadow: ModelShadow | None = None


class StartCounts(Model):
    """The numbers of starts that both versions found, and that only one of them found."""

    both: int
    only_serving: int
    only_shadow: int


class LabelDifference(StartCounts):
    """One label in all sessions. Rates are starts per hour of video; None until some video was followed."""

    serving_per_hour: float | None = None
    shadow_per_hour: float | None = None


class SessionDifference(Model):
    """One session that the shadow followed."""

    session_id: str
    model_version: str
    followed_s: float
    labels: Mapping[str, StartCounts]
    name: str | None = None
    missed_frames: int = 0


class DifferingStart(Model):
    """A start that only `found_by` found: `serving` or `shadow`."""

    found_by: str
    session_id: str
    label: str
    start_s: float
    score: float
    time: datetime
    event_id: str | None = None
    """Id of the event, if it was published."""
    region: str | None = None


class ShadowDifference(Model):
    """What the shadow version finds, compared with what is published."""

    model: str
    version: str
    serving_version: str
    followed_s: float
    labels: Mapping[str, LabelDifference]
    sessions: tuple[SessionDifference, ...]
    starts: tuple[DifferingStart, ...]
    """The newest starts that only one version found."""


def archive_of(checkpoint: str | os.PathLike[str]) -> bytes:
    """The bytes of an archive; a checkpoint folder is packed into one. Raises OSError naming a missing file."""
    path = Path(checkpoint)
    if not path.is_dir():
        return path.read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in (*REQUIRED, *(name for name in OPTIONAL if (path / name).is_file())):
            archive.add(path / name, name)
    return buffer.getvalue()


def listed() -> Call:
    """The models that sessions can use."""
    return Call("GET", "/v1/models")


def model(name: str) -> Call:
    """One model."""
    return Call("GET", _path(name))


def pushed(name: str, checkpoint: str | os.PathLike[str], *, shadow: bool) -> Call:
    """Upload a version, or name its folder in a bucket (`s3://`). Repeated, it gives the same version. Raises
    OSError.
    """
    params = {"shadow": "true"} if shadow else {}
    if isinstance(checkpoint, str) and checkpoint.startswith("s3://"):
        return Call("PUT", _path(name), {**params, "url": checkpoint}, timeout_s=UPLOAD_TIMEOUT_S)
    return Call("PUT", _path(name), params, content=archive_of(checkpoint), timeout_s=UPLOAD_TIMEOUT_S)


def removed(name: str) -> Call:
    """Not repeatable: the second request would not find it."""
    return Call("DELETE", _path(name), is_repeatable=False)


def shadow(name: str) -> Call:
    """What the shadow finds."""
    return Call("GET", _path(name, "/shadow"))


def shadow_removed(name: str) -> Call:
    """Not repeatable: the second request would not find it."""
    return Call("DELETE", _path(name, "/shadow"), is_repeatable=False)


def promoted(name: str) -> Call:
    """Not repeatable: the second request would not find a shadow."""
    return Call("POST", _path(name, "/promote"), is_repeatable=False)


def moved(session_id: str) -> Call:
    """Run a session on the newest version of its model from the next frame on."""
    return Call("PATCH", session_path(session_id), json={"model_version": "latest"})


def _path(name: str, rest: str = "") -> str:
    return f"/v1/models/{quote(name, safe='')}{rest}"
