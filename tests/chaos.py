"""Workers that are killed over and over while sessions run and clients come and go: `make chaos`.

Redis, a bucket, two servers and three workers of the shipped model, in processes of their own; 24 sessions of files, 6
of a camera, 300 clients that leave and go on at the other server. Every 20 s one worker gets SIGKILL and another is
started. Exit status 1: a file's events are not those of an undisturbed run, a client missed one or got it twice or out
of order, or a camera was away for 20 s.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from deployment import Deployment, deployment
from rtsp_server import rtsp_server
from session_kit import actions, expected_actions
from websockets.exceptions import WebSocketException

from model.detector import Detector
from service.schemas import ENDED_STATES, Event, EventPage, event_key

FILES, CAMERAS, CLIENTS = 24, 6, 300
KILL_EVERY_S = 20.0
STAY_S = (2.0, 30.0)
LONGEST_GAP_S = 20.0
SAMPLE = Path(__file__).parent.parent / "samples" / "mocap.mp4"


@dataclass
class Client:
    """Follows one session over many connections."""

    session_id: str
    events: list[Event] = field(default_factory=list)
    connections: int = 0

    async def run(self, deployed: Deployment) -> None:
        while not self._has_ended():
            self.connections += 1
            after = self.events[-1].id if self.events else None
            server = random.randrange(len(deployed.servers))
            with suppress(TimeoutError, WebSocketException, OSError):
                async with asyncio.timeout(random.uniform(*STAY_S)):
                    async for event in deployed.follow(self.session_id, server=server, after=after):
                        self.events.append(event)

    def _has_ended(self) -> bool:
        last = self.events[-1] if self.events else None
        return last is not None and last.type == "session.state" and last.state in ENDED_STATES


def long_video(folder: Path, number: int, duration_s: float) -> Path:
    """The sample over and over, from another place for each number."""
    path = folder / f"{number}.mp4"
    command = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", str(SAMPLE), "-ss", str(3 * number)]
    subprocess.run([*command, "-t", str(duration_s), "-c", "copy", str(path)], check=True)
    return path


async def kill_for(deployed: Deployment, duration_s: float) -> int:
    """How many workers were killed."""
    began_s, killed = time.monotonic(), 0
    while time.monotonic() - began_s < duration_s:
        await asyncio.sleep(KILL_EVERY_S)
        alive = [worker for worker in deployed.workers if worker.process.returncode is None]
        random.choice(alive).kill()
        killed += 1
        await deployed.start_worker()
        sys.stderr.write(f"{time.monotonic() - began_s:5.0f} s: killed {killed}\n")
    return killed


async def events_of(http: httpx.AsyncClient, session_id: str) -> list[Event]:
    """As the server has them."""
    events: list[Event] = []
    while True:
        after = f"&after={events[-1].id}" if events else ""
        answer = await http.get(f"/v1/sessions/{session_id}/events?limit=500{after}")
        page = EventPage.model_validate_json(answer.content).events
        if not page:
            return events
        events += page


async def run(duration_s: float, video_s: float) -> dict[str, object]:
    settings = {
        "MODELS": '["mocap"]',
        "DEFAULT_MODEL": "mocap",
        "WORKER_CAPACITY_STEPS_PER_S": "150",
    }
    with tempfile.TemporaryDirectory() as name, rtsp_server() as cameras:
        folder = Path(name)
        (folder / "videos").mkdir()
        videos = [long_video(folder / "videos", number, video_s) for number in range(4)]
        async with AsyncExitStack() as stack:
            deployed = await stack.enter_async_context(deployment(folder / "d", Path("mocap"), settings=settings))
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=deployed.servers[0].url, timeout=30))
            files = [(await deployed.upload(videos[n % 4], server=n % 2)).id for n in range(FILES)]
            source = {"url": cameras.url("fast")}
            live = [(await http.post("/v1/sessions", json={"source": source})).json()["id"] for _ in range(CAMERAS)]
            clients = [Client((files + live)[n % (FILES + CAMERAS)]) for n in range(CLIENTS)]
            following = [asyncio.create_task(client.run(deployed)) for client in clients]
            began_s = time.monotonic()
            killed = await kill_for(deployed, duration_s)
            states = [await _ended(deployed, session_id) for session_id in files]
            took_s = time.monotonic() - began_s
            for session_id in live:
                await http.delete(f"/v1/sessions/{session_id}")
            await asyncio.gather(*following)
            told = {session_id: await events_of(http, session_id) for session_id in files + live}
        detector = Detector.load("mocap")
        wanted = [expected_actions(video, detector) for video in videos]
    gaps = [event.gap_s for session_id in live for event in told[session_id] if event.type == "session.gap"]
    keys = {session_id: [event_key(event.id) for event in events] for session_id, events in told.items()}
    return {
        "workers killed": killed,
        "files completed": f"{states.count('completed')} of {FILES}",
        "seconds until all files were done": round(took_s),
        "files whose events are those of an undisturbed run": sum(
            actions(told[session_id]) == wanted[n % 4] for n, session_id in enumerate(files)
        ),
        "events of files": sum(len(told[session_id]) for session_id in files),
        "events told twice or out of order": sum(
            len(ids) - len(set(ids)) + (ids != sorted(ids)) for ids in keys.values()
        ),
        "gaps of cameras": len(gaps),
        "longest gap, s": max(gaps, default=0.0),
        "connections of clients": sum(client.connections for client in clients),
        "clients with every event once, in order": sum(client.events == told[client.session_id] for client in clients),
    }


async def _ended(deployed: Deployment, session_id: str) -> str:
    async for event in deployed.follow(session_id):
        if event.type == "session.state":
            state = event.state
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--video-s", type=float, default=200.0, help="length of each file")
    chosen = parser.parse_args()
    report = asyncio.run(run(chosen.minutes * 60, chosen.video_s))
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    well = (
        report["files whose events are those of an undisturbed run"] == FILES
        and report["clients with every event once, in order"] == CLIENTS
        and report["events told twice or out of order"] == 0
        and float(str(report["longest gap, s"])) < LONGEST_GAP_S
    )
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
