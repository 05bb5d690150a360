"""The files of uploaded models: in the data folder, or in the bucket. Each version has a folder named by its key."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from model.checkpoints.folders import CONFIG_FILE, WEIGHTS_FILE
from model.checkpoints.reference_scores import SCORES_FILE
from service.storage.objects import Objects

MODELS = "models"
CARD_FILE = "README.md"
"""The model card, which a checkpoint may have."""


@dataclass(frozen=True)
class StoredModelFiles:
    """The contents of a version's files that workers need."""

    config_json: bytes
    weights: bytes
    scores_json: bytes | None
    """The scores at calibration; None in checkpoints without them."""


class ModelFiles:
    """Files of a version never change: different content has a different key. All methods may raise
    StoreUnavailableError.
    """

    def __init__(self, objects: Objects, folder: Path | None) -> None:
        """`folder` is where the objects are, if it is not a bucket."""
        self._objects = objects
        self._folder = folder

    async def put(self, key: str, files: Mapping[str, bytes]) -> None:
        """Keep the files of a version, by their names in the checkpoint folder."""
        for name, content in files.items():
            await self._objects.put(f"{MODELS}/{key}/{name}", content)

    async def read(self, key: str) -> StoredModelFiles:
        """What a worker needs to load the version. Raises FileNotFoundError."""
        config = await self._objects.read(f"{MODELS}/{key}/{CONFIG_FILE}")
        weights = await self._objects.read(f"{MODELS}/{key}/{WEIGHTS_FILE}")
        return StoredModelFiles(config, weights, await self._optional(key, SCORES_FILE))

    async def card(self, key: str) -> str | None:
        """The model card, if there is one."""
        card = await self._optional(key, CARD_FILE)
        return None if card is None else card.decode(errors="replace")

    async def _optional(self, key: str, name: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return await self._objects.read(f"{MODELS}/{key}/{name}")
        return None

    async def delete(self, key: str) -> None:
        """Delete the files of a version. Idempotent."""
        async for batch in self._objects.list(f"{MODELS}/{key}/"):
            for file in batch:
                await self._objects.delete(file.name)
        if self._folder is not None:
            with suppress(OSError):
                await asyncio.to_thread((self._folder / MODELS / key).rmdir)

    async def written_at(self) -> dict[str, datetime]:
        """By the key of each version that has files: when the newest of them was written."""
        newest: dict[str, datetime] = {}
        async for batch in self._objects.list(f"{MODELS}/"):
            for file in batch:
                key = file.name.split("/")[1]
                newest[key] = max(file.modified_at, newest.get(key, file.modified_at))
        return newest
