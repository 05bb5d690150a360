"""Checkpoints as clients upload them, in several versions."""

import io
import json
import tarfile
from pathlib import Path

from model.checkpoints.stored import StoredNetwork, network_of_bytes
from service.model_description import describe
from service.storage.model_files import ModelFiles
from service.store.model_records import UploadedModel
from service.store.protocols import Store
from tests.support.running_server import Running

FILES = ("model.json", "model.safetensors")


def version_of(checkpoint: Path, *, refractory_s: float = 0.2, **changes: object) -> dict[str, bytes]:
    """The files of a checkpoint with other rules, which make it another version."""
    files = {name: (checkpoint / name).read_bytes() for name in FILES}
    config = json.loads(files["model.json"]) | changes
    for rule in config["start_rules"].values():
        rule["refractory_s"] = refractory_s
    return {**files, "model.json": json.dumps(config).encode()}


def tar_of(files: dict[str, bytes]) -> bytes:
    """An archive of a checkpoint folder with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"checkpoint/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def network_of(files: dict[str, bytes]) -> StoredNetwork:
    return network_of_bytes("gate", files["model.json"], files["model.safetensors"])


async def store_model(
    store: Store, blobs: ModelFiles, files: dict[str, bytes], name: str = "gate", **changes: object
) -> UploadedModel:
    """Keep a model as an upload would."""
    uploaded = UploadedModel.model_validate(
        {"info": describe(name, network_of(files), "uploaded"), "size_bytes": 1, **changes}
    )
    await blobs.put(uploaded.key, files)
    await store.models.put(uploaded, max_kept=10)
    return uploaded


async def put(server: Running, files: dict[str, bytes], name: str = "gate", status: int = 201) -> dict[str, object]:
    """Upload a model, expecting this status, and return the answer."""
    answer = await server.http.put(f"/v1/models/{name}", content=tar_of(files))
    assert answer.status_code == status, answer.text
    described: dict[str, object] = answer.json()
    return described
