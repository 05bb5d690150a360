"""Passwords of cameras and tokens of addresses and webhooks are written once and never shown again."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect

from service.event_schemas import EVENT
from service.schemas import ENDED_STATES, SessionState
from tests.support.rtsp_server import RtspServer, rtsp_server
from tests.support.running_server import Child
from tests.support.session_kit import decoders_of
from tests.support.tiny_server import tiny_server
from tests.support.video_server import serve_folder

PASSWORD, WRONG, TOKEN, HOOK = "pass", "Wr0ng/Sesame?", "tok3n-of-the-clip", "h00k-t0ken"
# The camera's real password is too common a word to look for: it is asked for with its user.
SECRETS = [form for secret in (WRONG, TOKEN, HOOK) for form in (secret, quote(secret, safe=""))] + ["user:pass@"]


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    with rtsp_server() as server:
        yield server


@pytest.fixture
async def child(tmp_path: Path, model: Path) -> AsyncIterator[Child]:
    options = {"SOURCE_ALLOW": "127.0.0.0/8", "SOURCE_TIMEOUT_S": "60", "LOG_LEVEL": "DEBUG"}
    async with tiny_server(tmp_path / "data", model, **options) as started:
        yield started


class Ears:
    """Everything that a caller, an operator or another user of the machine can see."""

    def __init__(self, child: Child, http: httpx.AsyncClient) -> None:
        self._child = child
        self._http = http
        self.observed: list[str] = []

    async def ask(self, method: str, path: str, **options: object) -> httpx.Response:
        answer = await self._http.request(method, path, **options)  # type: ignore[arg-type]
        self.observed.append(f"{answer.headers} {answer.text}")
        return answer

    def look_at_processes(self) -> None:
        for process in (server := psutil.Process(self._child.process.pid), *server.children(recursive=True)):
            self.observed.append(f"{process.cmdline()} {process.environ()}")

    async def follow(self, path: str, states: Collection[SessionState] = ENDED_STATES) -> str:
        """Until a session is in one of these states, by default to its end: that state and its code."""
        async with connect(f"{self._child.url.replace('http', 'ws', 1)}{path}") as socket:
            async for message in socket:
                self.observed.append(str(message))
                event = EVENT.validate_json(message)
                if event.type == "session.state" and event.state in states:
                    return f"{event.state} {event.code}"
        raise AssertionError("the events ended before")

    def said(self) -> str:
        return "\n".join([*self.observed, self._child.log.read_text()])


@pytest.mark.slow
async def test_no_secret_is_seen_anywhere(child: Child, camera: RtspServer, video: Path) -> None:
    server = psutil.Process(child.process.pid)
    [worker] = server.children()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=child.url, timeout=120))
        base = stack.enter_context(serve_folder(video.parent))
        ears = Ears(child, http)

        async def submit(url: str, **options: object) -> dict[str, str]:
            answer = await ears.ask("POST", "/v1/sessions", json={"source": {"url": url}, **options})
            assert answer.status_code == 202, answer.text
            return dict(answer.json()["links"])

        hook = {"url": f"http://user:{quote(WRONG, safe='')}@127.0.0.1:9/?key={HOOK}"}
        with_secrets = f"http://user:{quote(WRONG, safe='')}@{base}"
        running = await submit(camera.url("slow"), webhook=hook)
        # A source that worked once is tried again for as long as it takes, however slow the machine is today.
        await ears.follow(running["events"], {"running"})
        ears.look_at_processes()
        # A crash of the decoder, in which a trace could be written.
        os.kill(decoders_of(worker.pid)[0], signal.SIGABRT)
        others = [
            await submit(camera.url("slow", user=f"user:{quote(WRONG, safe='')}")),
            await submit(camera.url("nothing-there")),
            await submit(f"{with_secrets}/v.mp4?token={TOKEN}"),
            await submit(f"{with_secrets}/missing.mp4?token={TOKEN}"),
            await submit(f"{with_secrets}/v.mp4.txt?token={TOKEN}"),
            await submit(f"http://user:{quote(WRONG, safe='')}@no-such-host.invalid/{quote('v')}?token={TOKEN}"),
        ]
        ended = await asyncio.gather(*(ears.follow(links["events"]) for links in others))
        assert ended == [
            "failed source_unauthorized",
            "failed source_unreachable",
            "completed None",
            "failed source_unreachable",
            "failed source_unreachable",
            "failed source_unreachable",
        ]
        for body in (
            {"source": {"url": f"ftp://user:{WRONG}@example.org/?token={TOKEN}"}},
            {"source": {"url": f"http://user:{quote(WRONG, safe='')}@10.0.0.1/?token={TOKEN}"}},
            {"source": {"url": f"rtsp://user:{quote(WRONG, safe='')}@camera.example/", "transport": "smoke"}},
            {"source": {"url": f"http://a/{TOKEN * 500}"}},
            {"source": {"url": camera.url("slow")}, "webhook": {"url": f"ftp://{HOOK}"}},
            {"source": {"url": f"http://example.org/?token={TOKEN}"}, "model": "unknown"},
        ):
            answer = await ears.ask(
                "POST", "/v1/sessions", content=json.dumps(body), headers={"content-type": "application/json"}
            )
            assert answer.status_code in (403, 422)
        for links in (running, *others):
            for what in ("self", "events", "scores"):
                await ears.ask("GET", links[what])
        await ears.ask("GET", "/v1/sessions")
        await ears.ask("GET", "/metrics")
        ears.look_at_processes()
        assert (await ears.ask("DELETE", running["self"])).status_code == 202
        assert await ears.follow(running["events"]) == "stopped None"
    said = ears.said()
    assert "http://no-such-host.invalid/v" in said
    assert [secret for secret in SECRETS if secret in said] == []
