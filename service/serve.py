"""`cake serve`: the server in embedded mode, and the sample video that plays in it over and over."""

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import structlog

from service.api.server import Server
from service.beside import beside
from service.requests import SessionOptions
from service.schemas import ENDED_STATES, Session, SessionPage

POLL_S = 0.5
RETRY_S = 3.0
AFTER_FAILURE_S = 30.0
Files = dict[str, tuple[str | None, bytes | str, str]]
"""Parts of a multipart/form-data body: name of the part -> name of the file, content, content type."""
_log = structlog.get_logger(__name__)


def page_url(listener: socket.socket) -> str:
    """Where a browser on this machine finds the server."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(
    server: Server, listener: socket.socket, *, sample: Path | None, on_started: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT. `on_started` gets the page's address; `sample` then plays as a camera would."""
    async with beside(_after_start(server, page_url(listener), sample, on_started)):
        await server.serve(sockets=[listener])


async def _after_start(server: Server, url: str, sample: Path | None, on_started: Callable[[str], None]) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.02)
    on_started(url)
    if sample is None:
        return
    try:
        await play_sample(url, sample, server.own_key)
    except httpx.HTTPError as error:
        if not server.should_exit:
            _log.error("sample stopped", error=str(error))


async def play_sample(url: str, sample: Path, key: str) -> None:
    """Keep one live-paced session of the file running, through the HTTP API: when it has ended the next one begins.

    Of the ended ones the last stays. One that an earlier server left unfinished goes on first. Returns when somebody
    stops the session.
    """
    # One line for each request is too many.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    name = f"Sample: {sample.name}"
    ended: list[Session] = []
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, headers=headers) as client:
        session = await _unfinished(client, name) or await _submit(client, sample, name)
        while True:
            last = await _until_ended(client, session)
            if last is None or last.state == "stopped":
                return
            if last.state == "failed":
                _log.warning("sample failed", code=last.code, detail=last.detail, again_in_s=AFTER_FAILURE_S)
                await asyncio.sleep(AFTER_FAILURE_S)
            session = await _submit(client, sample, name)
            for earlier in ended:
                await client.delete(earlier.links.self)
            ended = [last]


async def _unfinished(client: httpx.AsyncClient, name: str) -> Session | None:
    response = await _until_accepted(client, "GET", "/v1/sessions?limit=200")
    page = SessionPage.model_validate_json(response.content)
    return next((s for s in page.sessions if s.name == name and s.state not in ENDED_STATES), None)


async def _submit(client: httpx.AsyncClient, sample: Path, name: str) -> Session:
    options = SessionOptions.model_validate({"pace": "realtime", "name": name}).model_dump_json(exclude_none=True)
    content = await asyncio.to_thread(sample.read_bytes)
    files: Files = {"file": (sample.name, content, "video/mp4"), "session": (None, options, "application/json")}
    response = await _until_accepted(client, "POST", "/v1/sessions", files)
    return Session.model_validate_json(response.content)


async def _until_accepted(
    client: httpx.AsyncClient, method: str, path: str, files: Files | None = None
) -> httpx.Response:
    """The answer, asked for again while the server is not ready or is full."""
    while True:
        response = await client.request(method, path, files=files)
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return response.raise_for_status()
        await asyncio.sleep(float(response.headers.get("Retry-After", RETRY_S)))


async def _until_ended(client: httpx.AsyncClient, session: Session) -> Session | None:
    """The session once it has ended; None if somebody deleted it."""
    while session.state not in ENDED_STATES:
        await asyncio.sleep(POLL_S)
        response = await client.get(session.links.self)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        if response.status_code == httpx.codes.OK:
            session = Session.model_validate_json(response.content)
    return session
