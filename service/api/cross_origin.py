"""Lets pages of allowed origins read responses (CORS), errors included: ASGI middleware, the outermost."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

EXPOSED_HEADERS = (
    "Accept-Ranges",
    "Allow",
    "Clip-From-S",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
    "traceparent",
)
PREFLIGHT_VALID_S = 600


class CrossOrigin:
    """Adds the CORS headers for `allowed` origins to every response, and answers their preflight requests.

    Credentials of the browser (cookies, client certificates) are never allowed: pages send an API key as a header.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)
        self._cors = CORSMiddleware(
            app,
            allow_origins=allowed,
            allow_methods=["*"],
            # Any header may be sent, since none of them carries the browser's own authority.
            allow_headers=["*"],
            # A page on the web may be allowed to use a server in the private network of its user.
            allow_private_network=True,
            expose_headers=EXPOSED_HEADERS,
            max_age=PREFLIGHT_VALID_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_foreign = scope["type"] == "http" and Headers(scope=scope).get("origin") not in self._allowed
        # The application refuses the preflight requests of other origins, with problem details.
        answer = self._app if is_foreign and scope["method"] == "OPTIONS" else self._cors
        await answer(scope, receive, send)
