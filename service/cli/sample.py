"""The sample video of `cake serve --sample`, played in a loop through the HTTP API."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path

import httpx
import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from service.event_schemas import EVENT, ActionStartEvent, Event
from service.feedback import SessionFeedback
from service.requests import SessionOptions
from service.schemas import ENDED_STATES, Session, SessionPage

RETRY_S = 3.0
AFTER_FAILURE_S = 30.0
KEPT_RUNS = 10
"""Ended runs that are kept for people who read them, besides those with feedback."""
Files = dict[str, tuple[str | None, bytes | str, str]]
"""Parts of a multipart/form-data body: name of the part -> file name, content, content type."""
_log = structlog.get_logger(__name__)


def terminal_line(event: ActionStartEvent) -> str:
    """An action start for people: media time, label, score."""
    minutes, seconds = divmod(event.start_s, 60)
    return f"{minutes:.0f}:{seconds:04.1f}  {event.label}  {event.score * 100:.0f} %"


async def play_sample(url: str, sample: Path, key: str, *, print_line: Callable[[str], None] | None = None) -> None:
    """Keep one real-time session of the file running: start the next when it ends.

    The last `KEPT_RUNS` ended runs are kept, and older ones that have feedback; the others are deleted, also those of
    an earlier server. A session that an earlier server left unfinished is resumed first. Returns when a user stops or
    deletes the session. Action starts are printed with `print_line`, or logged without it. Raises httpx.HTTPError.
    """

    def show(event: Event) -> None:
        if event.type == "action.start" and print_line is not None:
            print_line(terminal_line(event))
        elif event.type == "action.start":
            _log.info("action started", label=event.label, score=event.score, start_s=event.start_s)

    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, headers=headers) as client:
        await _play(client, sample, show)


async def _play(client: httpx.AsyncClient, sample: Path, on_event: Callable[[Event], None]) -> None:
    earlier = await _runs(client, sample)
    number = max((_number(run) for run in earlier), default=0)
    ended = deque(run for run in reversed(earlier) if run.state in ENDED_STATES)
    unfinished = next((run for run in earlier if run.state not in ENDED_STATES), None)
    if (session := unfinished) is None:
        number += 1
        session = await _submit(client, sample, number)
    while True:
        last = await _until_ended(client, session, on_event)
        if last is None or last.state == "stopped":
            return
        if last.state == "failed":
            _log.warning("sample failed", code=last.code, detail=last.detail, retry_in_s=AFTER_FAILURE_S)
            await asyncio.sleep(AFTER_FAILURE_S)
        number += 1
        session = await _submit(client, sample, number)
        ended.append(last)
        while len(ended) > KEPT_RUNS:
            await _delete_unless_judged(client, ended.popleft())


async def _runs(client: httpx.AsyncClient, sample: Path) -> list[Session]:
    """The sample's runs among the newest sessions, newest first."""
    response = await _until_accepted(client, "GET", "/v1/sessions?limit=200")
    name = re.compile(rf"{re.escape(_name(sample))}(, run \d+)?")
    return [run for run in SessionPage.model_validate_json(response.content).sessions if name.fullmatch(run.name or "")]


def _name(sample: Path) -> str:
    return f"Sample: {sample.name}"


def _number(run: Session) -> int:
    """The number of the run; 0 without one, as earlier versions named their runs."""
    return int(run.name.rpartition(" ")[2]) if run.name and re.search(r", run \d+$", run.name) else 0


async def _delete_unless_judged(client: httpx.AsyncClient, run: Session) -> None:
    """Delete the run, unless it has feedback or was deleted already."""
    response = await client.get(f"{run.links.self}/feedback")
    if response.status_code == httpx.codes.OK and not SessionFeedback.model_validate_json(response.content).feedback:
        await client.delete(run.links.self)


async def _submit(client: httpx.AsyncClient, sample: Path, number: int) -> Session:
    named = {"pace": "realtime", "name": f"{_name(sample)}, run {number}"}
    options = SessionOptions.model_validate(named).model_dump_json(exclude_none=True)
    content = await asyncio.to_thread(sample.read_bytes)
    files: Files = {"file": (sample.name, content, "video/mp4"), "session": (None, options, "application/json")}
    response = await _until_accepted(client, "POST", "/v1/sessions", files)
    return Session.model_validate_json(response.content)


async def _until_accepted(
    client: httpx.AsyncClient, method: str, path: str, files: Files | None = None
) -> httpx.Response:
    """The response, requested again while the server is not ready or has no capacity."""
    while True:
        response = await client.request(method, path, files=files)
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return response.raise_for_status()
        await asyncio.sleep(float(response.headers.get("Retry-After", RETRY_S)))


async def _until_ended(
    client: httpx.AsyncClient, session: Session, on_event: Callable[[Event], None]
) -> Session | None:
    """Follow the session's events; return the session once it has ended, or None if a user deleted it."""
    after: str | None = None
    while True:
        after = await _follow(client, session, after, on_event)
        response = await client.get(session.links.self)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        if response.status_code == httpx.codes.OK:
            session = Session.model_validate_json(response.content)
            if session.state in ENDED_STATES:
                return session
        await asyncio.sleep(RETRY_S)


async def _follow(
    client: httpx.AsyncClient, session: Session, after: str | None, on_event: Callable[[Event], None]
) -> str | None:
    """Pass on the session's events until the connection ends; the id of the last one."""
    url = str(client.base_url.join(session.links.events)).replace("http", "ws", 1)
    headers = {"Authorization": client.headers["Authorization"]}
    try:
        async with connect(f"{url}?after={after}" if after else url, additional_headers=headers, proxy=None) as socket:
            async for message in socket:
                event = EVENT.validate_json(message)
                after = event.id
                on_event(event)
    except (WebSocketException, OSError) as error:
        _log.debug("event connection lost", error=str(error))
    return after
