"""What the routes of one application share."""

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Depends
from prometheus_client import CollectorRegistry
from starlette.requests import HTTPConnection

from service.access.keys import ApiKey
from service.access.rate import KeyUses, RateLimiter
from service.api.cuts import Cuts
from service.api.fair_places import FairPlaces
from service.api.limits import OpenStreams, UploadReservations
from service.api.store_answers import StoreAnswers
from service.feed.fanout import Feed
from service.observability.audit import AuditLog
from service.observability.telemetry import ApiMetrics
from service.settings import Settings
from service.storage.blobs import Blobs
from service.storage.disk import Disk
from service.storage.stored_size import StoredSize
from service.store.protocols import Store
from service.subscriptions.targets import TargetOpener

if TYPE_CHECKING:
    from service.api.people import People

WATCH_NOTICE_EVERY_S = 2.0


class Watchers:
    """Decides how often the store is notified that clients watch a session's snapshots."""

    def __init__(self) -> None:
        self._notified_s: dict[str, float] = {}
        """Time of the latest notice, by session."""

    def is_notice_due(self, session_id: str, now_s: float) -> bool:
        """Whether to notify the store now; if so, not again for WATCH_NOTICE_EVERY_S."""
        if now_s - self._notified_s.get(session_id, -math.inf) < WATCH_NOTICE_EVERY_S:
            return False
        recent = {key: at_s for key, at_s in self._notified_s.items() if now_s - at_s < WATCH_NOTICE_EVERY_S}
        self._notified_s = {**recent, session_id: now_s}
        return True


@dataclass(frozen=True)
class Context:
    """What all routes of a server process share."""

    settings: Settings
    store: Store
    feed: Feed
    blobs: Blobs
    disk: Disk
    metrics: ApiMetrics
    registry: CollectorRegistry
    own_key: ApiKey
    """Key of this process, which is not in the store: it submits the sample through the server's own API."""
    audit: AuditLog
    stored: StoredSize
    streams: OpenStreams
    auth: Literal["auto", "required", "off"]
    """As in the settings, but never `auto` if other machines can connect."""
    targets: TargetOpener
    cuts: Cuts
    answers: StoreAnswers
    people: "People | None" = None
    """None unless people are authenticated by a proxy or an identity provider."""
    uploads: UploadReservations = field(default_factory=UploadReservations)
    limiter: RateLimiter = field(default_factory=RateLimiter)
    key_uses: KeyUses = field(default_factory=KeyUses)
    watchers: Watchers = field(default_factory=Watchers)
    trials: FairPlaces = field(default_factory=lambda: FairPlaces(1, per_client=1))
    """Held while rules are tried."""
    discovery: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """Held while the network is searched for cameras."""
    model_reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """Held while an uploaded model is read, which takes several times its size in memory."""
    metrics_readers: deque[str] = field(default_factory=lambda: deque(maxlen=16))
    """Digests of the keys that read metrics recently."""


# Asynchronous, since FastAPI would run a plain function in a thread, which costs more than the rest of many requests.
async def get_context(connection: HTTPConnection) -> Context:
    """The context of the application that serves this request or WebSocket."""
    context: Context = connection.app.state.context
    return context


SharedContext = Annotated[Context, Depends(get_context)]
