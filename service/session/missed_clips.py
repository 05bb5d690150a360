"""Clips of missed actions, in the worker that still has their stream in memory.

A server asks for one when a person has reported the action, and learns whether there will be one.
"""

import asyncio
import json
import socket
from contextlib import closing, suppress

from service.errors import ServiceError
from service.session.clips import SessionClips
from service.store.protocols import FeedbackOfSessions

MAX_AT_A_TIME = 8
ANSWER_WITHIN_S = 5.0
NO_ANSWER = "The decoder did not answer in time: the source sends nothing, or the machine is busy."
WITHDRAWN = "The missed action was removed."


class MissedClips:
    """Answers the servers of one session."""

    def __init__(self, session_id: str, feedback: FeedbackOfSessions, clips: SessionClips) -> None:
        self._session_id, self._feedback, self._clips = session_id, feedback, clips
        self._answering: set[asyncio.Task[None]] = set()

    def take(self, connection: socket.socket, missed_id: str) -> bool:
        """Implements `service.push.gate.TakeMissed`."""
        if len(self._answering) >= MAX_AT_A_TIME:
            return False
        task = asyncio.create_task(self._answer(connection, missed_id))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        return True

    async def close(self) -> None:
        """End all connections. Idempotent."""
        for task in self._answering:
            task.cancel()
        if self._answering:
            await asyncio.wait(self._answering)

    async def _answer(self, connection: socket.socket, missed_id: str) -> None:
        with closing(connection), suppress(OSError, TimeoutError):
            line = json.dumps(await self._order(missed_id)).encode() + b"\n"
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await asyncio.get_running_loop().sock_sendall(connection, line)

    async def _order(self, missed_id: str) -> str | None:
        """Why there will be no clip."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                found = [each for each in await self._feedback.of_session(self._session_id) if each.id == missed_id]
                return await self._clips.order_missed(found[0]) if found else WITHDRAWN
        except TimeoutError:
            return NO_ANSWER
        except ServiceError as error:
            return error.detail
