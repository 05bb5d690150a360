"""What the routes of one application share."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from prometheus_client import CollectorRegistry
from starlette.requests import HTTPConnection

from service.api.feed import Feed
from service.settings import Settings
from service.store.base import Store
from service.telemetry import ApiMetrics


@dataclass(frozen=True)
class Context:
    settings: Settings
    store: Store
    feed: Feed
    metrics: ApiMetrics
    registry: CollectorRegistry


def get_context(connection: HTTPConnection) -> Context:
    context: Context = connection.app.state.context
    return context


SharedContext = Annotated[Context, Depends(get_context)]
