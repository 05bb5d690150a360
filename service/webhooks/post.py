"""One signed POST to an address of a caller's."""

import asyncio
from collections.abc import Mapping, Sequence

import httpcore

from service.sources.sources import SourceForbiddenError
from service.webhooks.retry import retry_after_s
from service.webhooks.signature import signed_headers

POST_TIMEOUT_S, CONNECT_TIMEOUT_S = 10.0, 5.0
_GONE = 410


class PostFailedError(Exception):
    """The receiver did not accept a message. `reason` is a status or an error; `wait_s` the delay that it requested."""

    def __init__(self, reason: str, *, wait_s: float = 0.0, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s
        self.is_final = is_final
        """The receiver wants no more."""


async def post_signed(
    pool: httpcore.AsyncConnectionPool,
    url: str,
    body: bytes,
    *,
    message_id: str,
    secrets: Sequence[str],
    headers: Mapping[str, str],
    now_unix_s: float,
) -> None:
    """Post a message with the headers of Standard Webhooks in addition to `headers`. Raises PostFailedError."""
    sent = signed_headers(secrets, message_id, int(now_unix_s), body) | {"user-agent": "CAKE"} | dict(headers)
    try:
        async with asyncio.timeout(POST_TIMEOUT_S):
            request = pool.stream(
                "POST",
                url,
                headers=list(sent.items()),
                content=body,
                extensions={"timeout": {"connect": CONNECT_TIMEOUT_S}},
            )
            # The body of the response is not read: it could be endless.
            async with request as response:
                status, answered = response.status, response.headers
    except SourceForbiddenError as error:
        raise PostFailedError(error.code) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, TimeoutError) as error:
        raise PostFailedError(": ".join(filter(None, (type(error).__name__, str(error))))) from error
    if not 200 <= status < 300:
        raise PostFailedError(str(status), wait_s=retry_after_s(answered, now_unix_s), is_final=status == _GONE)
