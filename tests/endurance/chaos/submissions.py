"""Sessions that are submitted, followed and checked."""

import asyncio
import json
import random
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from service.event_schemas import Event, EventPage
from service.schemas import Session
from tests.endurance.chaos.program import FailedRunError
from tests.support.session_kit import Reported

AGAIN_AFTER_S = 1.0


@dataclass(frozen=True)
class Submitted:
    session_id: str
    expected: list[Reported] | None
    """What an undisturbed run reports; None where that depends on what arrives, as for a camera."""
    receiver: str | None
    """Path of its webhook."""


class Api:
    """Requests that are repeated, at either server, until one answers.

    They raise FailedRunError for an answer that no outage excuses.
    """

    def __init__(self, servers: Sequence[str], rng: random.Random) -> None:
        self._servers = servers
        self._rng = rng
        self._http = httpx.AsyncClient(timeout=10)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def submit(self, source: Path | str, *, webhook: str | None, **options: object) -> str:
        """The id of a session of a file or of an address: one, however often the request is repeated."""
        body = {**options, **({} if webhook is None else {"webhook": {"url": webhook}})}
        headers = {"idempotency-key": uuid.uuid4().hex}
        if isinstance(source, str):
            answer = await self._request(
                "POST", "/v1/sessions", headers=headers, json={"source": {"url": source}, **body}
            )
        else:
            content = await asyncio.to_thread(source.read_bytes)
            files = {"file": content, "session": (None, json.dumps(body), "application/json")}
            answer = await self._request("POST", "/v1/sessions", headers=headers, files=files)
        return Session.model_validate_json(answer.content).id

    async def session(self, session_id: str) -> Session:
        answer = await self._request("GET", f"/v1/sessions/{session_id}")
        return Session.model_validate_json(answer.content)

    async def stop(self, session_id: str) -> None:
        """A repeated request would delete a session that has ended."""
        if (await self.session(session_id)).ended_at is None:
            with suppress(httpx.TransportError):
                await self._http.delete(f"{self._rng.choice(self._servers)}/v1/sessions/{session_id}")

    async def events(self, session_id: str) -> list[Event]:
        """As the service has them."""
        events: list[Event] = []
        while True:
            after = f"&after={events[-1].id}" if events else ""
            answer = await self._request("GET", f"/v1/sessions/{session_id}/events?limit=1000{after}")
            page = EventPage.model_validate_json(answer.content).events
            if not page:
                return events
            events += page

    async def _request(self, method: str, path: str, **content: object) -> httpx.Response:
        while True:
            server = self._rng.choice(self._servers)
            try:
                answer = await self._http.request(method, f"{server}{path}", **content)  # type: ignore[arg-type]
            except httpx.TransportError:
                await asyncio.sleep(AGAIN_AFTER_S)
                continue
            if answer.is_success:
                return answer
            # 408: the server was stopped while it received the body.
            if answer.status_code < 500 and answer.status_code != 408:
                raise FailedRunError(f"{method} {path}: {answer.status_code} {answer.text}")
            await asyncio.sleep(AGAIN_AFTER_S)
