"""Live sessions that come and go for a long time, while memory, threads and open files are measured: `make soak`.

A real server with a worker, the tiny model, GStreamer's RTSP server, motion JPEG and pushed streams; every session is
followed over a WebSocket, and the cameras go away for some seconds now and then. Exit status 1: something grew, an
event was lost or sent twice, or a decoder was left.
"""

import argparse
import asyncio
import csv
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import httpx
import psutil
from websockets.asyncio.client import connect

from service.event_schemas import EVENT, SessionStateEvent, event_key
from service.schemas import ENDED_STATES
from tests.support.live_servers import http_camera, segment
from tests.support.rtsp_server import RtspServer, rtsp_server
from tests.support.session_kit import write_lively_video
from tests.support.tiny_model import checkpoint_for
from tests.support.tiny_server import tiny_server

SESSIONS = 8
LIFE_S = (20.0, 180.0)
SAMPLE_EVERY_S = 10.0
CAMERAS_GO_EVERY_S, CAMERAS_AWAY_S = 120.0, 5.0
# Of the median of the last third over that of the second, apart from the spread of sessions that come and go.
MEMORY_GROWTH, MEMORY_SLACK_BYTES, COUNT_SLACK = 0.05, 4 * 1024**2, 3


@dataclass(frozen=True)
class Sample:
    """Of the server and its worker, decoders left out but counted."""

    elapsed_s: float
    server_bytes: int
    worker_bytes: int
    threads: int
    open_files: int
    decoders: int
    database_bytes: int


class Soak:
    def __init__(
        self, server: psutil.Process, client: httpx.AsyncClient, cameras: RtspServer, http_url: str, data_dir: Path
    ) -> None:
        self._client = client
        self._cameras = cameras
        self._http_url = http_url
        self._data_dir = data_dir
        self._server = server
        self._began_s = time.monotonic()
        self.samples: list[Sample] = []
        self.sessions = self.events = self.gaps = self.never_there = self.refused = 0

    async def run(self, duration_s: float) -> None:
        """Until the time is up and the last sessions have ended."""
        until_s = self._began_s + duration_s
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(work) for work in (self._measure(), self._disturb())]
            async with asyncio.TaskGroup() as slots:
                for number in range(SESSIONS):
                    slots.create_task(self._sessions_of_a_slot(random.Random(number), until_s))
            for task in beside:
                task.cancel()

    def processes(self) -> tuple[psutil.Process, list[psutil.Process]]:
        """The worker, and its decoders."""
        [worker] = self._server.children()
        forks = [child for child in worker.children() if "service.decoder.fork_server_child" in child.cmdline()]
        return worker, [decoder for server in forks for decoder in server.children()]

    async def _sessions_of_a_slot(self, rng: random.Random, until_s: float) -> None:
        while (left_s := until_s - time.monotonic()) > 0:
            await self._session(rng.choice(("slow", "fast", "mjpeg", "push")), min(left_s, rng.uniform(*LIFE_S)))

    async def _session(self, kind: str, life_s: float) -> None:
        sources: dict[str, dict[str, object]] = {"mjpeg": {"url": f"{self._http_url}/camera"}, "push": {"push": True}}
        source = sources.get(kind, {"url": self._cameras.url(kind)})
        links = (await self._submit(source))["links"]
        self.sessions += 1
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow(links["events"]))
            pushing = group.create_task(self._push(links["stream"])) if kind == "push" else None
            await asyncio.wait([following], timeout=life_s)
            if not following.done():
                (await self._client.delete(links["self"])).raise_for_status()
            last = await following
            if pushing is not None:
                pushing.cancel()
        (await self._client.delete(links["self"])).raise_for_status()
        # A camera that goes away before its session has begun is a failure; one that goes away later is not. On a busy
        # machine, the server of the cameras may also be too slow.
        never_there = last.code in ("source_unreachable", "source_timeout")
        assert last.state == "stopped" or (kind in ("slow", "fast") and never_there), f"{kind} ended as {last}"
        self.never_there += never_there

    async def _submit(self, source: dict[str, object]) -> dict[str, Any]:
        """The session. A worker that got no processor for 10 s is thought to be dead: then it is submitted again."""
        while (answer := await self._client.post("/v1/sessions", json={"source": source, "pace": "realtime"})).is_error:
            assert answer.status_code == 503, answer.text
            self.refused += 1
            await asyncio.sleep(float(answer.headers["Retry-After"]))
        return dict(answer.json())

    async def _follow(self, path: str) -> SessionStateEvent:
        """To the end of the session: how that was. Raises AssertionError for an event out of order."""
        last = (-1, -1)
        async with connect(f"{str(self._client.base_url).replace('http', 'ws', 1)}{path}") as socket:
            async for message in socket:
                event = EVENT.validate_json(message)
                assert event_key(event.id) > last, f"{event.id} after {last}"
                last = event_key(event.id)
                self.events += 1
                self.gaps += event.type == "session.gap"
                if event.type == "session.state" and event.state in ENDED_STATES:
                    return event
        raise AssertionError("the socket was closed before the session had ended")

    async def _push(self, path: str) -> None:
        with suppress(httpx.HTTPError):
            await self._client.put(path, content=_seconds_of_video(), timeout=None)

    async def _measure(self) -> None:
        while True:
            worker, decoders = self.processes()
            both = (self._server, worker)
            self.samples.append(
                Sample(
                    round(time.monotonic() - self._began_s, 1),
                    self._server.memory_info().rss,
                    worker.memory_info().rss,
                    sum(process.num_threads() for process in both),
                    sum(process.num_fds() for process in both),
                    len(decoders),
                    sum(path.stat().st_size for path in self._data_dir.glob("cake.db*")),
                )
            )
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def _disturb(self) -> None:
        while True:
            await asyncio.sleep(CAMERAS_GO_EVERY_S)
            self._cameras.stop()
            await asyncio.sleep(CAMERAS_AWAY_S)
            await asyncio.to_thread(self._cameras.start)


async def _seconds_of_video() -> AsyncIterator[bytes]:
    """A second of MPEG-TS each second, without end."""
    number = 0
    while True:
        yield await asyncio.to_thread(segment, number)
        number += 1
        await asyncio.sleep(1.0)


def growth(samples: list[Sample]) -> list[str]:
    """What is not flat, in words: the last third against the second."""
    third = len(samples) // 3
    found: list[str] = []
    for name in ("server_bytes", "worker_bytes", "threads", "open_files"):
        before, after = (
            statistics.median(getattr(sample, name) for sample in part)
            for part in (samples[third : 2 * third], samples[2 * third :])
        )
        slack = before * MEMORY_GROWTH + MEMORY_SLACK_BYTES if name.endswith("bytes") else COUNT_SLACK
        if after > before + slack:
            found.append(f"{name} grew from {before:.0f} to {after:.0f}")
    return found


def summary(soak: Soak) -> str:
    away = f"{soak.never_there} of cameras that were away"
    lines = [f"{soak.sessions} sessions, {away}, {soak.events} events, {soak.gaps} gaps", f"{soak.refused} refusals"]
    third = max(1, len(soak.samples) // 3)
    for field in fields(Sample)[1:]:
        values = [getattr(sample, field.name) for sample in soak.samples]
        parts = [statistics.median(values[start : start + third]) for start in (0, third, 2 * third)]
        lines.append(
            f"{field.name}: median of each third {', '.join(f'{part:.0f}' for part in parts)}; most {max(values)}"
        )
    return "\n".join(lines)


async def soak(duration_s: float, csv_path: Path) -> list[str]:
    """What is wrong, in words; nothing if all is well."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        model = checkpoint_for(write_lively_video(folder / "v.mp4", count=120), folder)
        cameras, http_url = stack.enter_context(rtsp_server()), stack.enter_context(http_camera())
        options = {"SOURCE_ALLOW": "127.0.0.0/8", "SOURCE_TIMEOUT_S": "5", "LOG_LEVEL": "WARNING"}
        child = await stack.enter_async_context(tiny_server(folder / "data", model, **options))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=child.url, timeout=30))
        running = Soak(psutil.Process(child.process.pid), client, cameras, http_url, folder / "data")
        try:
            await running.run(duration_s)
            left = len(running.processes()[1])
        finally:
            with csv_path.open("w", newline="") as file:
                rows = csv.DictWriter(file, [field.name for field in fields(Sample)])
                rows.writeheader()
                rows.writerows(map(asdict, running.samples))
            sys.stdout.write(summary(running) + "\n")
        return growth(running.samples) + ([f"{left} decoders were left"] if left else [])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"), help="where the samples go")
    asked = parser.parse_args()
    wrong = asyncio.run(soak(60 * asked.minutes, asked.csv))
    sys.stdout.writelines(f"{line}\n" for line in wrong or ["flat"])
    sys.exit(bool(wrong))
