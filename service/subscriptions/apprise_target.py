"""People as targets: each event is a message of a service that Apprise knows, with an image or a clip."""

import asyncio
from typing import Protocol

import structlog

from service.errors import ServiceError
from service.event_schemas import ActionStartEvent, Event, EventMediaEvent
from service.store.subscription_records import StoredAppriseTarget
from service.subscriptions.notice import notice_of, trial_notice
from service.subscriptions.notifier import Attachment, Notifier
from service.subscriptions.target import Trial

MAX_ATTACHMENT_BYTES = 8 * 1024**2
"""The limit of most services. A larger clip is left out."""
_log = structlog.get_logger(__name__)


class StillsAndClips(Protocol):
    """Where stills and clips of events come from."""

    async def still(self, event: ActionStartEvent) -> bytes | None:
        """A JPEG of about the start of an action; None if there is none. Raises ServiceError."""

    async def clip(self, event: EventMediaEvent) -> bytes | None:
        """The stored clip as MP4; None if it no longer exists. Raises ServiceError."""


class AppriseTarget:
    """Implements `service.subscriptions.target.Target`."""

    def __init__(self, stored: StoredAppriseTarget, notifier: Notifier, stills_and_clips: StillsAndClips) -> None:
        self._stored = stored
        self._notifier = notifier
        self._stills_and_clips = stills_and_clips

    async def deliver(self, event: Event) -> None:
        attachment = await self._attachment(event) if self._stored.attach else None
        await self._notifier.send(self._stored.url.get_secret_value(), notice_of(event), attachment)

    async def test(self, trial: Trial) -> None:
        """Send a test message. Raises DeliveryFailedError."""
        await self._notifier.send(self._stored.url.get_secret_value(), trial_notice(trial), None)

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def _attachment(self, event: Event) -> Attachment | None:
        try:
            if event.type == "action.start" and (jpeg := await self._stills_and_clips.still(event)) is not None:
                return Attachment("still.jpg", "image/jpeg", jpeg)
            if event.type == "event.media" and event.size_bytes <= MAX_ATTACHMENT_BYTES:
                mp4 = await self._stills_and_clips.clip(event)
                return None if mp4 is None else Attachment("clip.mp4", "video/mp4", mp4)
        except ServiceError as error:
            # The event matters more than its image.
            _log.warning("a notification goes without its image", session=event.session_id, error=error.detail)
        return None
