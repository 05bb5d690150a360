"""WebSocket clients that come and go, and resume at either server."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from service.event_schemas import EVENT, Event, LogEntry
from service.schemas import ENDED_STATES

STAY_S = (2.0, 30.0)
AGAIN_AFTER_S = 0.3
_ENTRY = TypeAdapter(LogEntry)


@dataclass
class Follower:
    """Follows one session, or all of them without `session_id`, over many connections."""

    servers: Sequence[str]
    rng: random.Random
    session_id: str | None = None
    events: list[Event] = field(default_factory=list)
    connections: int = 0
    refusals: list[str] = field(default_factory=list)
    """Answers that no client should get: its session exists."""
    longest_silence_s: float = 0.0
    _position: str | None = None
    _last_s: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        """To the end of the session, or until cancelled."""
        while not self.has_ended():
            self.connections += 1
            try:
                async with asyncio.timeout(self.rng.uniform(*STAY_S)):
                    await self._follow(self.rng.choice(self.servers))
            except InvalidStatus as error:
                if error.response.status_code < 500:
                    self.refusals.append(f"HTTP {error.response.status_code}")
                await asyncio.sleep(AGAIN_AFTER_S)
            except (TimeoutError, WebSocketException, OSError):
                await asyncio.sleep(AGAIN_AFTER_S)

    def has_ended(self) -> bool:
        if self.session_id is None or not self.events:
            return False
        last = self.events[-1]
        return last.type == "session.state" and last.state in ENDED_STATES

    async def _follow(self, server: str) -> None:
        path = "/v1/events" if self.session_id is None else f"/v1/sessions/{self.session_id}/events"
        after = "0" if self.session_id is None and self._position is None else self._position
        query = "" if after is None else f"?after={after}"
        async with connect(f"{server.replace('http', 'ws', 1)}{path}{query}", close_timeout=1) as socket:
            async for message in socket:
                self._note(message)
                if self.has_ended():
                    return

    def _note(self, message: str | bytes) -> None:
        if self.session_id is None:
            entry = _ENTRY.validate_json(message)
            event, self._position = entry.event, entry.cursor
        else:
            event = EVENT.validate_json(message)
            self._position = event.id
        self.events.append(event)
        now_s = time.monotonic()
        self.longest_silence_s = max(self.longest_silence_s, now_s - self._last_s)
        self._last_s = now_s
