"""Helpers for the tests of the HTTP API."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from service.problems import ProblemBody
from service.store import open_store
from tests.support.running_server import Running, Worker

VIDEO = bytes(range(256)) * 5000


def problem(response: httpx.Response, status: int, code: str) -> ProblemBody:
    """The problem that an answer must be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = ProblemBody.model_validate(response.json())
    assert (body.status, body.code) == (status, code)
    assert body.detail.endswith((".", "`."))
    return body


def stored_uploads(server: Running) -> list[bytes]:
    """The content of every stored upload, in no order."""
    return [path.read_bytes() for path in (server.settings.data_dir / "uploads").iterdir()]


async def upload(server: Running, *, video: bytes = VIDEO, key: str | None = None, **options: object) -> httpx.Response:
    files: dict[str, Any] = {"file": ("clip.mp4", video)}
    if options:
        files["session"] = (None, json.dumps(options), "application/json")
    return await server.http.post("/v1/sessions", files=files, headers={"Idempotency-Key": key} if key else {})


@asynccontextmanager
async def registered(data_dir: Path) -> AsyncIterator[Worker]:
    """A live worker of the server with this data folder."""
    store = open_store(f"sqlite://{data_dir}/cake.db")
    worker = Worker(store)
    async with worker.registered():
        yield worker
    await store.close()
