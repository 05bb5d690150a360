"""Stills and clips of events for the targets of subscriptions."""

import time
from collections.abc import Callable

from service.api.cuts import Cuts
from service.errors import NotFoundError
from service.event_schemas import ActionStartEvent, EventMediaEvent
from service.storage.blobs import Blobs
from service.store.protocols import Sessions

RECENT_S = 30.0
"""For this long after a decision, the snapshot of a live source shows the action; later, only the clip does."""


class EventStillsAndClips:
    """Implements `service.subscriptions.apprise_target.StillsAndClips`. `clock` gives seconds since 1970."""

    def __init__(self, sessions: Sessions, blobs: Blobs, cuts: Cuts, *, clock: Callable[[], float] = time.time) -> None:
        self._sessions = sessions
        self._blobs = blobs
        self._cuts = cuts
        self._clock = clock

    async def still(self, event: ActionStartEvent) -> bytes | None:
        """The frame at the start, cut out of the upload or the clip; else the snapshot, if it is about as old."""
        record = await self._sessions.get(event.session_id)
        is_recent = self._clock() - event.time.timestamp() <= RECENT_S
        if record.source.kind != "upload" and is_recent:
            return await self._blobs.snapshot(event.session_id)
        try:
            # Apart from what the owner's own requests cut.
            return await self._cuts.still(record, event, client=f"notifications of {record.owner}")
        except NotFoundError:
            return None

    async def clip(self, event: EventMediaEvent) -> bytes | None:
        stored = await self._blobs.find_clip(event.session_id, event.event_id)
        if stored is None:
            return None
        try:
            return await self._blobs.read_clip(stored)
        except NotFoundError:
            return None
