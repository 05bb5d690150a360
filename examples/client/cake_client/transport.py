"""Requests and WebSockets to one server, repeated where that is safe."""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import httpx
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from cake_client import calls
from cake_client.calls import MAX_EVENT_BYTES, Call, Repetition, Server
from cake_client.errors import CakeError, UnreachableError, error_of

T = TypeVar("T")


class Transport:
    """Sends requests to a server. Those that fail because it is unreachable, busy or restarting are repeated for
    `retry_for_s`, if they can be repeated safely.
    """

    def __init__(
        self, server: Server, *, timeout_s: float, retry_for_s: float, ssl_context: ssl.SSLContext | None
    ) -> None:
        self.server = server
        self._timeout_s = timeout_s
        self._retry_for_s = retry_for_s
        self._ssl = ssl_context
        self._http = httpx.Client(
            base_url=self.server.url,
            headers=self.server.headers,
            timeout=timeout_s,
            verify=True if ssl_context is None else ssl_context,
        )

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def connect(self, path: str, query: Mapping[str, Sequence[str]]) -> ClientConnection:
        """Open a WebSocket. Raises ApiError, UnreachableError."""
        try:
            return connect(
                self.server.websocket(path, query),
                additional_headers=self.server.headers,
                user_agent_header=None,
                open_timeout=self._timeout_s,
                max_size=MAX_EVENT_BYTES,
                ssl=self._ssl,
            )
        except InvalidStatus as error:
            raise calls.refusal_of(error) from error
        except (OSError, InvalidHandshake) as error:
            raise UnreachableError(self.server.url, str(error) or type(error).__name__) from error

    def send(self, call: Call) -> bytes:
        """The body of the response to a request. Raises the same errors as `request`."""
        return self.request(call).content

    def request(self, call: Call) -> httpx.Response:
        """The response to a request. Raises ApiError, UnreachableError."""
        return self.repeated(lambda: self._request_once(call), is_repeatable=call.is_repeatable)

    def _request_once(self, call: Call) -> httpx.Response:
        try:
            response = self._http.request(
                call.method,
                call.path,
                params=dict(call.params),
                headers=dict(call.headers),
                json=call.json,
                content=call.content if call.upload is None else iter(call.upload),
                timeout=calls.timeout_of(call, self._timeout_s),
            )
        except httpx.HTTPError as error:
            raise calls.failure_of(self.server, error) from error
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise error_of(response.status_code, response.headers, response.content)
        return response

    def repeated(self, attempt: Callable[[], T], *, is_repeatable: bool = True) -> T:
        """Repeat until it succeeds, fails permanently, or has failed for too long; in the latter cases, raise its
        error.
        """
        repetition = Repetition(self._retry_for_s, time.monotonic())
        while True:
            try:
                return attempt()
            except CakeError as error:
                delay_s = repetition.delay_s(error, time.monotonic()) if is_repeatable else None
                if delay_s is None:
                    raise
            time.sleep(delay_s)
