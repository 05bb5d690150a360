"""Deletes versions of uploaded models that were replaced and that no session uses, and files without a record."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import structlog

from service.errors import ModelInUseError, ServiceError
from service.storage.model_files import ModelFiles
from service.store.model_records import UploadedModel
from service.store.protocols import Store

CHECK_EVERY_S = 60.0
MIN_AGE = timedelta(hours=1)
"""Younger files may belong to a model that is being uploaded."""
_log = structlog.get_logger(__name__)


class ModelSweep:
    """Several servers may sweep at the same time: each skips what another has deleted."""

    def __init__(
        self, store: Store, files: ModelFiles, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._files = files
        self._clock = clock

    async def check(self) -> float:
        """Sweep, and return the seconds until the next sweep. Raises ServiceError."""
        loaded = {model.name for worker in await self._store.workers.live() for model in worker.models}
        for model in _replaced(await self._store.models.all(), loaded):
            try:
                await self._store.models.delete([model.key])
                await self._files.delete(model.key)
            except ModelInUseError:
                # Sessions are still pinned to it.
                continue
            except ServiceError as error:
                _log.warning("could not delete a replaced version of a model", model=model.key, error=error.detail)
                continue
            _log.info("deleted a replaced version of a model", model=model.key)
        await self._delete_orphans()
        return CHECK_EVERY_S

    async def _delete_orphans(self) -> None:
        written_at = await self._files.written_at()
        known = {model.key for model in await self._store.models.all()} if written_at else set()
        for key, newest in written_at.items():
            if key not in known and self._clock() - newest >= MIN_AGE:
                try:
                    await self._files.delete(key)
                except ServiceError as error:
                    _log.warning("could not delete the files of a model", model=key, error=error.detail)
                    continue
                _log.info("deleted the files of a model without a record", model=key)


def _replaced(models: Iterable[UploadedModel], loaded: set[str]) -> list[UploadedModel]:
    """Versions that a newer one has replaced, because a worker has loaded it; and all shadows but the newest.

    A shadow and the versions that serve do not replace each other.
    """
    found: list[UploadedModel] = []
    taken: set[tuple[str, bool]] = set()
    for model in sorted(models, key=lambda each: each.uploaded_at, reverse=True):
        place = (model.info.name, model.is_shadow)
        if place in taken:
            found.append(model)
        elif model.is_shadow or model.key in loaded:
            taken.add(place)
    return found
