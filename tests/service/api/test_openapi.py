"""Valid and invalid random requests, generated from the OpenAPI description, get the responses that it declares."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from service.access.keys import new_key
from service.access.scopes import Scope
from service.store import open_store
from tests.support.access_kit import LIMITS
from tests.support.running_server import running_server
from tests.support.tiny_server import tiny_server

CONFIG = Path(__file__).with_name("schemathesis.toml")


async def sessions_of(url: str, video: Path) -> dict[str, str]:
    """For the random requests to meet: one that has ended, and one that waits for a stream."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        upload = {"file": ("v.mp4", await asyncio.to_thread(video.read_bytes))}
        ended = (await client.post("/v1/sessions", files=upload)).raise_for_status().json()
        waiting = (await client.post("/v1/sessions", json={"source": {"push": True}})).raise_for_status().json()
        # The stream of its events ends with it.
        await client.get(ended["links"]["events"], headers={"Accept": "text/event-stream"})
    return {"ENDED_SESSION": ended["id"], "WAITING_SESSION": waiting["id"]}


async def new_token(data_dir: Path) -> str:
    token, key = new_key("random", [Scope.ADMIN], LIMITS, created_at=datetime.now(UTC))
    store = open_store(f"sqlite://{data_dir / 'cake.db'}")
    await store.keys.create(key)
    await store.close()
    return token


@pytest.mark.slow
async def test_responses_to_random_requests_match_the_description(
    model: Path, video: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    data_dir = tmp_path / "data"
    async with tiny_server(data_dir, model) as server:
        environ = {**os.environ, **await sessions_of(server.url, video)}
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
        command += [f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {await new_token(data_dir)}"]
        command += ["--max-examples", str(pytestconfig.getoption("--fuzz-requests")), "--seed", "1"]
        command += ["--continue-on-failure", "--request-timeout", "120"]
        ran = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, env=environ, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stdout


async def test_every_operation_accepts_one_media_type_and_every_response_has_a_schema(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        description = (await server.http.get("/openapi.json")).json()
    for methods in description["paths"].values():
        for operation in methods.values():
            assert len(operation.get("requestBody", {}).get("content", {"": {}})) == 1, operation["operationId"]
            for response in operation["responses"].values():
                for media_type, content in response.get("content", {}).items():
                    assert content.get("schema"), (operation["operationId"], media_type)
    schemas = description["components"]["schemas"]
    titles = [schema["title"] for schema in schemas.values()]
    assert sorted(titles) == sorted(set(titles)), "generators name classes by titles, and drop those of equal names"
    for name, discriminator in (("PushSource", "kind"), ("UrlSource", "kind"), ("UploadSource", "kind")):
        assert discriminator in schemas[name]["required"]
    for name in ("ActionStartEvent", "ActionEndEvent", "SessionStateEvent", "SessionGapEvent"):
        assert "type" in schemas[name]["required"]
    assert schemas["SourceRequest"]["properties"]["push"]["type"] == "boolean"
