"""The server's side of clips of missed actions: asks the worker of the session, which has its stream in memory."""

import asyncio
import json
from contextlib import suppress

from service.push.protocol import ACCEPTED, TOO_MANY, Hello, PushAddress

CONNECT_WITHIN_S = 5.0
ANSWER_WITHIN_S = 15.0
NOT_RUNNING = "No worker runs the session at present, so nothing of its stream is in memory."
TOO_MANY_REQUESTS = "Too many clips of missed actions of this session are requested at the same time."


async def order_missed_clip(session_id: str, address: PushAddress, missed_id: str) -> str | None:
    """Have the clip of a missed action stored; it may take as long as clips continue after their start.

    Returns why there will be none, a sentence for people.
    """
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            reader, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, TimeoutError):
        return NOT_RUNNING
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            writer.write(Hello(session_id, address.key, "missed", missed_id).to_line())
            reply = await reader.read(1)
            if reply == ACCEPTED:
                problem: str | None = json.loads(await reader.readline())
                return problem
            return TOO_MANY_REQUESTS if reply == TOO_MANY else NOT_RUNNING
    except (OSError, TimeoutError, ValueError):
        return NOT_RUNNING
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
