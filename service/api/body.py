"""The body of a request as it comes, for as long as it does come."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request

from service.errors import RequestTimeout

PATIENCE_S = 60.0
"""A client that sends nothing for so long is given up: it holds a connection, and the room of what it has sent."""


async def body_of(request: Request) -> AsyncIterator[bytes]:
    """Its chunks. Raises RequestTimeout, ClientDisconnect."""
    chunks = request.stream()
    while True:
        try:
            async with asyncio.timeout(PATIENCE_S):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RequestTimeout(f"Nothing of the body came for {PATIENCE_S:.0f} s; send it again.") from None
        yield chunk
