"""Serve one session with the installed package: upload a video and wait for the first action detected in it."""

import asyncio
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

# Only a server that hangs takes so long.
WITHIN_S = 300.0


async def upload(client: httpx.AsyncClient, name: str, video: bytes) -> str:
    """Submit the video as soon as a worker is ready. Returns the address of the session's events."""
    while True:
        try:
            ready = (await client.get("/readyz")).is_success
        except httpx.TransportError:
            ready = False
        if ready:
            break
        await asyncio.sleep(0.1)
    response = await client.post("/v1/sessions", files={"file": (name, video, "video/mp4")})
    return str(response.raise_for_status().json()["links"]["events"])


async def first_action(client: httpx.AsyncClient, events: str) -> dict[str, Any]:
    """The session's first action.start event, over server-sent events. Raises ValueError if it ends without one."""
    async with client.stream("GET", events, headers={"Accept": "text/event-stream"}) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                event: dict[str, Any] = json.loads(line.removeprefix("data:"))
                if event["type"] == "action.start":
                    return event
    raise ValueError("the session ended without an action")


async def main(name: str, video: bytes) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cake = Path(sys.executable).with_name("cake")
    with tempfile.TemporaryDirectory() as data_dir:
        server = await asyncio.create_subprocess_exec(
            *(cake, "serve", "--port", str(port), "--data-dir", data_dir), stdout=sys.stderr
        )
        ended = asyncio.create_task(server.wait())
        try:
            async with (
                asyncio.timeout(WITHIN_S),
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WITHIN_S, trust_env=False) as client,
            ):
                event = await first_action(client, await upload(client, name, video))
        finally:
            if not ended.done():
                server.terminate()
            await ended
    print(f"cake serve: {event['label']} at {event['start_s']:.1f} s, score {event['score']:.2f}")  # noqa: T201


if __name__ == "__main__":
    path = Path(sys.argv[1])
    asyncio.run(main(path.name, path.read_bytes()))
