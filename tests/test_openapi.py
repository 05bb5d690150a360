"""Random requests made from the OpenAPI description, right and wrong ones, are answered as it says."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from access_kit import LIMITS
from tiny_server import tiny_server

from service.access.keys import new_key
from service.access.scopes import Scope
from service.store import open_store

CONFIG = Path(__file__).with_name("schemathesis.toml")


async def sessions_of(url: str, video: Path) -> dict[str, str]:
    """For the random requests to meet: one that has ended, and one that waits for a stream."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        upload = {"file": ("v.mp4", await asyncio.to_thread(video.read_bytes))}
        ended = (await client.post("/v1/sessions", files=upload)).raise_for_status().json()
        waiting = (await client.post("/v1/sessions", json={"source": {"push": True}})).raise_for_status().json()
        # The stream of its events ends with it.
        await client.get(ended["links"]["events"], headers={"Accept": "text/event-stream"})
    return {"ENDED_SESSION": ended["id"], "WAITING_SESSION": waiting["id"]}


async def new_token(data_dir: Path) -> str:
    token, key = new_key("random", [Scope.ADMIN], LIMITS, created_at=datetime.now(UTC))
    store = open_store(f"sqlite://{data_dir / 'cake.db'}")
    await store.create_key(key)
    await store.close()
    return token


async def test_random_requests_are_answered_as_the_description_says(
    model: Path, video: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    data_dir = tmp_path / "data"
    async with tiny_server(data_dir, model) as server:
        environ = {**os.environ, **await sessions_of(server.url, video)}
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
        command += [f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {await new_token(data_dir)}"]
        command += ["--max-examples", str(pytestconfig.getoption("--fuzz-requests")), "--seed", "1"]
        command += ["--continue-on-failure", "--request-timeout", "20"]
        ran = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, env=environ, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stdout
