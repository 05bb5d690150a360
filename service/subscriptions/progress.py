"""Writes the progress of all subscriptions together, so that they do not compete with workers for the store."""

import asyncio
from collections.abc import Mapping

from service.store.delivery_protocols import Subscriptions
from service.store.subscription_records import ProgressChange

WRITE_EVERY_S = 1.0


class ProgressWriter:
    """Keeps the newest progress of each subscription until it is written. `run` must be running."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions
        self._pending: dict[str, ProgressChange] = {}
        self._moved: dict[str, int] = {}
        self._writing = asyncio.Lock()

    def put(self, change: ProgressChange) -> None:
        """Write this soon, in place of earlier progress of the same subscription."""
        self._pending[change.subscription_id] = change

    def has_moved(self, subscription_id: str, revision: int) -> bool:
        """Whether progress of this revision was rejected: the subscription was changed, or another server delivers."""
        return self._moved.get(subscription_id) == revision

    def keep(self, revisions: Mapping[str, int]) -> None:
        """Forget rejections of all revisions but these."""
        self._moved = {each: revision for each, revision in self._moved.items() if revisions.get(each) == revision}

    async def write(self) -> None:
        """Return once everything that was put is written. If this raises ServiceError, the rest will still be
        written.
        """
        async with self._writing:
            changes, self._pending = self._pending, {}
            if not changes:
                return
            try:
                moved = await self._subscriptions.save_progress(list(changes.values()))
            except BaseException:
                self._pending = {**changes, **self._pending}
                raise
            self._moved.update({each: changes[each].revision for each in moved})

    async def write_regularly(self) -> float:
        """Write, and return when to write again, in seconds. Raises ServiceError."""
        await self.write()
        return WRITE_EVERY_S
