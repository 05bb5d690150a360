"""What the routes of one application share."""

from collections import deque
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from prometheus_client import CollectorRegistry
from starlette.requests import HTTPConnection

from service.access.keys import ApiKey
from service.access.rate import RateLimiter
from service.api.feed import Feed
from service.api.viewers import Viewers
from service.blobs import Blobs
from service.settings import Settings
from service.store.base import Store
from service.telemetry import ApiMetrics


@dataclass(frozen=True)
class Context:
    settings: Settings
    store: Store
    feed: Feed
    blobs: Blobs
    metrics: ApiMetrics
    registry: CollectorRegistry
    own_key: ApiKey
    """Of this process alone, in no store: what it submits itself, through its own API."""
    limiter: RateLimiter = field(default_factory=RateLimiter)
    viewers: Viewers = field(default_factory=Viewers)
    metrics_readers: deque[str] = field(default_factory=lambda: deque(maxlen=16))
    """Digests of the keys that read metrics of late."""


def get_context(connection: HTTPConnection) -> Context:
    context: Context = connection.app.state.context
    return context


SharedContext = Annotated[Context, Depends(get_context)]
