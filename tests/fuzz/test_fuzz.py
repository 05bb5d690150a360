"""Damaged videos through the running service: each ends its own session in time, and nothing else."""

import asyncio
import hashlib
import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from service.event_schemas import EventPage
from service.schemas import Session
from tests.support.mutated_videos import BASES, mutant, whole_video
from tests.support.paths import ROOT
from tests.support.running_server import Child, until
from tests.support.session_kit import decoders_of
from tests.support.tiny_server import tiny_server

pytestmark = pytest.mark.slow
AT_ONCE = 3
END_WITHIN_S = 300.0
# A busy machine takes and ends pushed sessions late.
PATIENT = "import service.api.push as push; push.CONNECT_TIMEOUT_S = push.COMMIT_TIMEOUT_S = 60.0"
MEASURE_EVERY_S = 0.5
SEEN_AGAIN = 100
# A file that cannot be decoded is the client's fault, never the server's.
FAULTS = {"decode_failed", "no_video_stream", "source_unsupported", "source_unreachable", "limit_exceeded"}
log = logging.getLogger("fuzz")


def resident_mb(process: psutil.Process) -> float:
    """0 for a process that has ended meanwhile."""
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


@dataclass(frozen=True)
class Ended:
    """How a session of a damaged video ended."""

    name: str
    outcome: str
    took_s: float


class Fuzzed:
    """A server in which nothing may break."""

    def __init__(self, child: Child, data_dir: Path, http: httpx.AsyncClient) -> None:
        self._data_dir = data_dir
        self._http = http
        self.server = psutil.Process(child.process.pid)
        [self.worker] = self.server.children()

    async def open_files(self) -> int:
        """Of the server and its worker, when no decoder runs any more."""
        await until(lambda: decoders_of(self.worker.pid) == [])
        return self.server.num_fds() + self.worker.num_fds()

    async def analyse(self, name: str, content: bytes, *, pushed: bool) -> Ended:
        """Send a video, wait for the end of its session, and delete it."""
        began_s = time.monotonic()
        session = await (self._push(content) if pushed else self._upload(content))
        session = await self._end_of(session)
        assert (await self._http.delete(session.links.self)).status_code == 204
        return Ended(name, session.code or session.state, time.monotonic() - began_s)

    async def measure_memory(self) -> None:
        """Log the resident memory of server, worker and largest decoder, in MB, until cancelled."""
        while True:
            decoders = [resident_mb(child) for child in self.worker.children(recursive=True)]
            log.info(
                "memory %.1f %.1f %.1f", resident_mb(self.server), resident_mb(self.worker), max(decoders, default=0.0)
            )
            await asyncio.sleep(MEASURE_EVERY_S)

    async def events_of(self, content: bytes) -> list[tuple[str, str]]:
        """Of a good video."""
        session = await self._end_of(await self._upload(content))
        assert session.state == "completed"
        page = EventPage.model_validate((await self._http.get(session.links.events)).json())
        assert (await self._http.delete(session.links.self)).status_code == 204
        return [(event.id, event.type) for event in page.events]

    def leftovers(self) -> Iterator[str]:
        """Names of files of sessions that no longer exist."""
        for folder in ("uploads", "snapshots"):
            yield from (path.name for path in (self._data_dir / folder).iterdir())

    async def _upload(self, content: bytes) -> Session:
        answer = await self._http.post("/v1/sessions", files={"file": ("clip", content)})
        assert answer.status_code == 202, answer.text
        return Session.model_validate(answer.json())

    async def _push(self, content: bytes) -> Session:
        answer = await self._http.post("/v1/sessions", json={"source": {"push": True}})
        session = Session.model_validate(answer.json())
        assert session.links.stream is not None
        answer = await self._http.put(session.links.stream, content=content)
        assert answer.status_code in (202, 409), answer.text
        return session

    async def _end_of(self, session: Session) -> Session:
        async with asyncio.timeout(END_WITHIN_S):
            after = ""
            while session.ended_at is None:
                query = {"wait_s": 20} | ({"after": after} if after else {})
                page = EventPage.model_validate((await self._http.get(session.links.events, params=query)).json())
                after = page.next or after
                session = Session.model_validate((await self._http.get(session.links.self)).json())
        return session


@pytest.fixture
async def fuzzed(tmp_path: Path, model: Path) -> AsyncIterator[Fuzzed]:
    data_dir = tmp_path / "data"
    async with (
        tiny_server(data_dir, model, prelude=PATIENT, SOURCE_TIMEOUT_S="60", LOG_LEVEL="WARNING") as child,
        httpx.AsyncClient(base_url=child.url, timeout=120) as http,
    ):
        yield Fuzzed(child, data_dir, http)


def test_a_damaged_video_can_be_made_again_from_its_number_by_another_process() -> None:
    program = f"""
import hashlib
from tests.support.mutated_videos import BASES, mutant, whole_video
print(*(hashlib.sha256(whole_video(*base)).hexdigest() for base in BASES))
print(*(hashlib.sha256(mutant(number).content).hexdigest() for number in range({SEEN_AGAIN})))
"""
    command = [sys.executable, "-c", program]
    there = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    here = [whole_video(*base) for base in BASES] + [mutant(number).content for number in range(SEEN_AGAIN)]
    assert there == [hashlib.sha256(content).hexdigest() for content in here]


async def test_damaged_videos_end_only_their_own_sessions(
    fuzzed: Fuzzed, video: Path, pytestconfig: pytest.Config
) -> None:
    good = await asyncio.to_thread(video.read_bytes)
    events, open_files = await fuzzed.events_of(good), await fuzzed.open_files()
    numbers = iter(range(pytestconfig.getoption("fuzz_videos")))
    ended: list[Ended] = []

    async def work() -> None:
        for number in numbers:
            damaged = await asyncio.to_thread(mutant, number)
            one = await fuzzed.analyse(f"{number}: {damaged.name}", damaged.content, pushed=number % 4 == 3)
            log.info("%s: %s in %.2f s", one.name, one.outcome, one.took_s)
            ended.append(one)

    async with asyncio.TaskGroup() as group:
        measuring = group.create_task(fuzzed.measure_memory())
        async with asyncio.TaskGroup() as sending:
            for _ in range(AT_ONCE):
                sending.create_task(work())
        measuring.cancel()
    log.warning("%d videos: %s", len(ended), Counter(one.outcome for one in ended).most_common())
    log.warning("slowest: %s", sorted(ended, key=lambda one: -one.took_s)[:5])
    assert [one for one in ended if one.outcome not in {"completed", *FAULTS}] == []
    assert fuzzed.server.is_running()
    assert fuzzed.worker.is_running()
    assert list(fuzzed.leftovers()) == []
    assert await fuzzed.open_files() <= open_files + 2
    assert await fuzzed.events_of(good) == events
