"""JSON bodies of requests: bounded and decompressed as uploads are, with or without a byte order mark."""

import codecs
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from service.api.request_body import body_of
from service.storage.uploads import MAX_OPTIONS_BYTES


async def json_of(request: Request) -> bytes:
    """The body. Raises TooLargeError beyond MAX_OPTIONS_BYTES, and what else `body_of` raises."""
    body = b"".join([chunk async for chunk in body_of(request, max_bytes=MAX_OPTIONS_BYTES)])
    return body.removeprefix(codecs.BOM_UTF8)


class _JsonRequest(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._body = await json_of(self)
        return self._body


class JsonRoute(APIRoute):
    """A route whose body the framework parses. The framework itself limits neither size nor duration of a body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, with bounds on size and duration of the body."""
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
            read = _JsonRequest(request.scope, request.receive)
            if self.body_field is not None:
                # Here, since the framework answers 400 to any exception that is raised while it reads the body.
                await read.body()
            return await handle(read)

        return handle_bounded
