"""What one client may hold at a time on this server: uploads in progress and open streams.

The store counts sessions and stored bytes when a session is created. These counters reject a request that cannot
succeed before its body is read, and bound what has not reached the store yet.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from prometheus_client import Counter as PrometheusCounter
from starlette._utils import get_route_path
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from service.access.keys import ApiKey
from service.api.error_responses import problem_response
from service.errors import OverCapacityError, StreamLimitError
from service.listening import max_connections
from service.server_schemas import ModelInfo
from service.settings import Settings
from service.storage.uploads import MAX_OPTIONS_BYTES
from service.store.admission import over_capacity, queue_full, session_limit, storage_limit
from service.store.records import KeyUsage
from service.store.worker_records import ServiceLoad

STREAM_RETRY_AFTER_S = 10
ALWAYS_SERVED = frozenset({"/livez", "/readyz", "/readyz/store", "/metrics"})
WARN_EVERY_S = 60.0
_log = structlog.get_logger(__name__)


@dataclass(eq=False)
class _Upload:
    key_id: str | None
    makes_session: bool
    reserved_bytes: int = 0
    received_bytes: int = 0


class UploadReservations:
    """Sessions and bytes reserved for uploads that this server receives."""

    def __init__(self) -> None:
        self._uploads: list[_Upload] = []

    @property
    def sessions(self) -> int:
        """Uploads that will become sessions."""
        return sum(upload.makes_session for upload in self._uploads)

    @property
    def awaited_bytes(self) -> int:
        """Bytes that the uploads have declared and not sent yet."""
        return sum(upload.reserved_bytes - upload.received_bytes for upload in self._uploads)

    @contextmanager
    def reserved(
        self, key: ApiKey | None, used: KeyUsage, declared_bytes: int, *, makes_session: bool
    ) -> Iterator[Callable[[int], None]]:
        """Reserve a session and `declared_bytes` while an upload is received, within the limits of `key`.

        Yields a function that takes the number of bytes received so far: a body without a declared length reserves
        them as they arrive. Both raise StorageLimitError; entering raises SessionLimitError if `makes_session`.
        """
        others = [] if key is None else [upload for upload in self._uploads if upload.key_id == key.id]
        if key is not None and makes_session and used.sessions + len(others) >= key.limits.max_sessions:
            raise session_limit(key.limits)
        others_bytes = used.stored_bytes + sum(upload.reserved_bytes for upload in others)
        quota_bytes = math.inf if key is None else key.limits.max_stored_bytes + MAX_OPTIONS_BYTES
        upload = _Upload(None if key is None else key.id, makes_session)

        def reserve(received_bytes: int) -> None:
            upload.received_bytes = received_bytes
            upload.reserved_bytes = max(declared_bytes, received_bytes)
            if key is not None and others_bytes + upload.reserved_bytes > quota_bytes:
                raise storage_limit(key.limits, others_bytes)

        reserve(0)
        self._uploads.append(upload)
        try:
            yield reserve
        finally:
            self._uploads.remove(upload)


def check_capacity(load: ServiceLoad, settings: Settings, models: Iterable[ModelInfo], *, uploading: int) -> None:
    """Check that the workers could take the cheapest session in addition to those that are `uploading`.

    Raises OverCapacityError.
    """
    if (queued := load.sessions.get("queued", 0) + uploading) >= settings.max_queued_sessions:
        raise queue_full(queued)
    cost_steps_per_s = min([settings.fast_session_steps_per_s, *(model.sample_hz for model in models)])
    reserved_steps_per_s = load.reserved_steps_per_s + uploading * cost_steps_per_s
    if not settings.queue_beyond_capacity and reserved_steps_per_s + cost_steps_per_s > load.capacity_steps_per_s:
        raise over_capacity(load.capacity_steps_per_s, reserved_steps_per_s, cost_steps_per_s)


class ConnectionLimit:
    """ASGI middleware. Keeps some open files in reserve: beyond the limit it only serves health checks and metrics."""

    def __init__(self, app: ASGIApp, open_connections: Callable[[], int], rejections: PrometheusCounter) -> None:
        self._app = app
        self._open_connections = open_connections
        self._rejections = rejections
        self._warned_s = -math.inf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_exempt = scope["type"] == "lifespan" or get_route_path(scope) in ALWAYS_SERVED
        if is_exempt or self._open_connections() <= (limit := max_connections()):
            await self._app(scope, receive, send)
            return
        self._rejections.inc()
        if time.monotonic() - self._warned_s > WARN_EVERY_S:
            self._warned_s = time.monotonic()
            _log.warning("too many connections, rejecting requests; raise the limit of open files", limit=limit)
        connection = HTTPConnection(scope)
        response = problem_response(
            connection,
            OverCapacityError("Too many connections are open. Retry later.", retry_after_s=STREAM_RETRY_AFTER_S),
        )
        response.headers["Connection"] = "close"
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(response)
        else:
            await response(scope, receive, send)


class OpenStreams:
    """Event streams, long polls and pushed streams that are open, by client."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._open: Counter[str] = Counter()

    @contextmanager
    def opened(self, client: str) -> Iterator[None]:
        """Count a stream of `client` while it is open."""
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if self._open[client] == 0:
                del self._open[client]

    def check(self, client: str) -> None:
        """Raises StreamLimitError when the client cannot open another stream."""
        if self._open[client] >= self._max_streams:
            raise StreamLimitError(
                f"{self._max_streams} streams are open already, the most that one client may open. Close one, or retry"
                " later.",
                retry_after_s=STREAM_RETRY_AFTER_S,
            )
