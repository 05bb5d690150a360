"""The requests of the API and when to repeat them, without input or output: shared by both clients."""

import random
import re
import ssl
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close

from cake_client.errors import (
    AccessRevokedError,
    ApiError,
    CakeError,
    PushInterruptedError,
    UnexpectedResponseError,
    UnreachableError,
    error_of,
)
from cake_client.event_filter import EventFilter
from cake_client.models import Clip
from cake_client.submission import SessionOptions, SourceOptions, Upload
from cake_client.version import VERSION

NORMAL, POLICY_VIOLATION = 1000, 1008
MESSAGE_BYTES = 64 * 1024
"""Largest message of a pushed stream."""
MAX_EVENT_BYTES = 1024**2
FIRST_DELAY_S, LAST_DELAY_S = 0.5, 15.0


@dataclass(frozen=True)
class Server:
    """Address of a server and the key for it. Raises ValueError for anything but an HTTP address."""

    url: str
    key: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{self.url!r} is not the address of a server; give one like http://127.0.0.1:8000")
        object.__setattr__(self, "url", self.url.rstrip("/"))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request: the client's version and the key."""
        authorization = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return {"User-Agent": f"cake-client/{VERSION}", **authorization}

    def websocket(self, path: str, query: Mapping[str, Sequence[str]]) -> str:
        """URL of a stream."""
        return f"{re.sub('^http', 'ws', self.url)}{path}{'?' if query else ''}{urlencode(query, doseq=True)}"


@dataclass(frozen=True)
class Call:
    """One request. `is_repeatable`: sending it twice has the same effect as sending it once.

    `timeout_s`: how long the response may take, if that is longer than the client's timeout.
    """

    method: str
    path: str
    params: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    upload: Upload | None = None
    content: bytes | None = None
    timeout_s: float | None = None
    is_repeatable: bool = True


def timeout_of(call: Call, default_s: float) -> httpx.Timeout:
    """How long each phase of a request may take."""
    return httpx.Timeout(default_s, read=max(default_s, call.timeout_s or 0.0))


def session_path(session_id: str, rest: str = "") -> str:
    """Path of a session, or of a part of it."""
    return f"/v1/sessions/{quote(session_id, safe='')}{rest}"


def submission(source: Mapping[str, Any], options: SessionOptions | None, idempotency_key: str | None) -> Call:
    """Submit a URL or a push source. The key makes it repeatable."""
    body = (options or SessionOptions()).to_json() | {"source": dict(source)}
    return Call("POST", "/v1/sessions", headers=_idempotent(idempotency_key), json=body)


def upload(body: Upload, idempotency_key: str | None) -> Call:
    """Submit a file. The key makes it repeatable."""
    return Call("POST", "/v1/uploads", headers={**_idempotent(idempotency_key), **body.headers}, upload=body)


def upload_options(options: SessionOptions | None, source: SourceOptions | None) -> dict[str, Any]:
    """The `options` of an upload."""
    given = (options or SessionOptions()).to_json()
    return given | ({"source": source.to_json()} if source else {})


def _idempotent(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or str(uuid.uuid4())}


def stop(session_id: str) -> Call:
    """Not repeatable: a second request deletes the session that the first one stopped."""
    return Call("DELETE", session_path(session_id), is_repeatable=False)


def events(session_id: str, after: str | None, wanted: EventFilter | None, limit: int, wait_s: float) -> Call:
    """Up to `limit` events after a cursor; waits for the first one for up to `wait_s`."""
    params = {"limit": [str(limit)], "wait_s": [f"{wait_s:g}"], **events_query(after, wanted)}
    return Call("GET", session_path(session_id, "/events"), params)


def events_query(after: str | None, wanted: EventFilter | None) -> dict[str, Sequence[str]]:
    """The parameters of a page or a stream of events."""
    return {**(wanted or EventFilter()).to_query(), **({"after": [after]} if after else {})}


def clip(session_id: str, event_id: str, before_s: float | None, after_s: float | None) -> Call:
    """The video of an event, from `before_s` before its start to `after_s` after it."""
    path = session_path(session_id, f"/events/{quote(event_id, safe='')}/clip.mp4")
    return Call("GET", path, _around(before_s, after_s))


def missed_clip(session_id: str, feedback_id: str, before_s: float | None, after_s: float | None) -> Call:
    """The video of a missed action, like that of an event."""
    path = session_path(session_id, f"/feedback/{quote(feedback_id, safe='')}/clip.mp4")
    return Call("GET", path, _around(before_s, after_s))


def _around(before_s: float | None, after_s: float | None) -> dict[str, str]:
    given = {"before_s": before_s, "after_s": after_s}
    return {name: f"{value:g}" for name, value in given.items() if value is not None}


def still(session_id: str, event_id: str) -> Call:
    """The frame at which an action started."""
    return Call("GET", session_path(session_id, f"/events/{quote(event_id, safe='')}/still.jpg"))


def clip_of(response: httpx.Response) -> Clip:
    """Raises UnexpectedResponseError."""
    try:
        return Clip(response.content, float(response.headers["Clip-From-S"]))
    except (KeyError, ValueError) as error:
        raise UnexpectedResponseError("The response is not a clip from CAKE. Check the server's address.") from error


def sessions(
    state: str | None,
    names: Sequence[str],
    metadata: Mapping[str, Sequence[str]],
    before: str | None,
    limit: int,
) -> Call:
    """One page of sessions, older than the cursor `before`."""
    params = {"limit": str(limit)} | ({"state": state} if state else {}) | ({"before": before} if before else {})
    of_metadata = {f"metadata.{key}": values for key, values in metadata.items()}
    return Call("GET", "/v1/sessions", {**params, "name": names, **of_metadata})


def failure_of(server: Server, error: httpx.HTTPError) -> CakeError:
    """Why a request has no response."""
    if isinstance(error, httpx.TransportError):
        return UnreachableError(server.url, str(error) or type(error).__name__)
    return UnexpectedResponseError(f"The response cannot be read ({error}). Check the server's address.")


def refusal_of(error: InvalidStatus) -> ApiError:
    """Why a WebSocket was rejected."""
    response = error.response
    return error_of(response.status_code, response.headers, bytes(response.body or b""))


def raise_refused_push(server: Server, error: ConnectionClosed) -> NoReturn:
    """Raise the error for which the server closed a pushed stream."""
    code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (0, "")
    if code == NORMAL:
        raise CakeError("push_ended", reason or "The session has ended. Submit a new session.") from error
    if code == POLICY_VIOLATION:
        raise AccessRevokedError from error
    raise PushInterruptedError(reason or f"The connection to {server.url} was lost") from error


class Repetition:
    """When to send a request again. All times are seconds on one monotonic clock."""

    def __init__(self, for_s: float, now_s: float) -> None:
        self._until_s = now_s + for_s
        self._backoff = Backoff()

    def delay_s(self, error: CakeError, now_s: float) -> float | None:
        """How long to wait before sending it again; None if repeating does not help or no time is left."""
        is_repeatable = isinstance(error, UnreachableError) or (isinstance(error, ApiError) and error.is_repeatable)
        delay_s = max(self._backoff.next_s(), getattr(error, "retry_after_s", None) or 0.0)
        return delay_s if is_repeatable and now_s + delay_s <= self._until_s else None


class Backoff:
    """Delays that double, with a random part, so that clients do not all reconnect at the same moment."""

    def __init__(self) -> None:
        self._delay_s = FIRST_DELAY_S

    def next_s(self) -> float:
        """The next delay."""
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, LAST_DELAY_S)
        return delay_s * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin with short delays again."""
        self._delay_s = FIRST_DELAY_S


class Resumption:
    """A follower's position in the events that it wants, and how long it waits before it reconnects."""

    def __init__(self, after: str | None, wanted: EventFilter | None) -> None:
        self.after = after
        self._wanted = wanted
        self._backoff = Backoff()

    @property
    def query(self) -> dict[str, Sequence[str]]:
        """The parameters of its next connection."""
        return events_query(self.after, self._wanted)

    def advance(self, position: str) -> bool:
        """Note an event id or a cursor. Returns False if it is not new, so that no event is seen twice."""
        self._backoff.reset()
        if self.after is not None and _order(position) <= _order(self.after):
            return False
        self.after = position
        return True

    def delay_s(self, error: CakeError) -> float:
        """How long to wait after a lost or rejected connection. Raises `error` if reconnecting cannot help."""
        if isinstance(error, ApiError) and not error.is_repeatable:
            raise error
        if isinstance(error, AccessRevokedError | UnexpectedResponseError) or _is_untrusted(error):
            raise error
        return max(self._backoff.next_s(), getattr(error, "retry_after_s", None) or 0.0)


def _is_untrusted(error: CakeError) -> bool:
    """Whether the server's certificate was not accepted."""
    return isinstance(error.__cause__, ssl.SSLCertVerificationError)


def _order(position: str) -> tuple[int, ...]:
    """`MEDIA_MS-SEQ` and cursors are ordered as numbers."""
    return tuple(int(number) for number in position.split("-"))


def lost(server: Server, close: Close | None) -> CakeError | None:
    """Why a stream of events was closed; None if everything was sent. `close`: the server's close frame, if any."""
    code, reason = (close.code, close.reason) if close else (None, "")
    if code == NORMAL:
        return None
    if code == POLICY_VIOLATION:
        return AccessRevokedError()
    return UnreachableError(server.url, reason or "the connection broke off")
