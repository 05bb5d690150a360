"""One run: sessions of every kind are submitted, followed and disturbed, then everything is checked."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.detector import Detector
from service.event_schemas import Event
from service.schemas import ENDED_STATES
from tests.endurance.chaos import checks
from tests.endurance.chaos.followers import Follower
from tests.endurance.chaos.process_disturbances import DISK_DISTURBANCES, PROCESS_DISTURBANCES
from tests.endurance.chaos.program import FailedRunError
from tests.endurance.chaos.receivers import Receivers
from tests.endurance.chaos.redis_disturbances import REDIS_DISTURBANCES
from tests.endurance.chaos.scene import Scene, scene
from tests.endurance.chaos.schedule import disturb
from tests.endurance.chaos.submissions import Api, Submitted
from tests.support.session_kit import Reported, expected_actions, write_lively_video
from tests.support.tiny_model import checkpoint_for

LONG_FILES, CAMERAS, FOLLOWERS_EACH = 6, 3, 6
CLIP_S, CLIP_EVERY_S = 12, 5.0
RATE_HZ = 30
END_WITHIN_S = 600.0


@dataclass
class Report:
    done: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    events: int = 0
    connections: int = 0
    redelivered: int = 0
    longest_silence_s: float = 0.0
    longest_webhook_silence_s: float = 0.0
    has_small_disks: bool = True
    outcomes: list[checks.Outcome] = field(default_factory=list)


@dataclass(frozen=True)
class Film:
    path: Path
    expected: list[Reported]


class Run:
    def __init__(self, built: Scene, api: Api, long: Film, clip: Film, rng: random.Random) -> None:
        self._scene = built
        self._api = api
        self._long, self._clip = long, clip
        self._rng = rng
        self._submitted: list[Submitted] = []
        self._followers: list[Follower] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.report = Report(has_small_disks=built.has_small_disks)

    async def play(self, duration_s: float) -> None:
        """Raises what went wrong so badly that nothing can be checked."""
        try:
            everything = Follower(self._scene.urls, random.Random(self._rng.random()))
            self._begin(everything.run())
            cameras = await self._submit_long()
            long_followers = [*self._followers]
            await self._disturb(duration_s)
            for session_id in cameras:
                await self._api.stop(session_id)
            stored = await self._stored()
            await self._settle(everything, stored)
            self._check(everything, long_followers, stored)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _submit_long(self) -> list[str]:
        """Sessions that last the whole run; the ids of the cameras."""
        paths = (Receivers.STEADY, Receivers.SOMETIMES_HANGING, Receivers.NEVER)
        for number in range(LONG_FILES):
            await self._submit(self._long, paths[number % 3], followers=FOLLOWERS_EACH, pace="realtime")
        url = self._scene.cameras.url("fast")
        return [await self._submit(url, Receivers.STEADY, followers=FOLLOWERS_EACH) for _ in range(CAMERAS)]

    async def _submit_clips(self) -> None:
        """New sessions all the time, until cancelled."""
        while True:
            receiver = self._rng.choice((Receivers.STEADY, Receivers.SOMETIMES_HANGING))
            await self._submit(self._clip, receiver, followers=1)
            await asyncio.sleep(CLIP_EVERY_S)

    async def _submit(self, source: Film | str, receiver: str, *, followers: int, **options: object) -> str:
        film, webhook = source if isinstance(source, Film) else None, f"{self._scene.receivers.url}{receiver}"
        what = source.path if isinstance(source, Film) else source
        session_id = await self._api.submit(what, webhook=webhook, **options)
        self._submitted.append(Submitted(session_id, None if film is None else film.expected, receiver))
        for _ in range(followers):
            follower = Follower(self._scene.urls, random.Random(self._rng.random()), session_id)
            self._followers.append(follower)
            self._begin(follower.run())
        return session_id

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _disturb(self, duration_s: float) -> None:
        """Redis and the processes independently, so that disturbances of both also come together."""
        kinds = PROCESS_DISTURBANCES | (DISK_DISTURBANCES if self._scene.has_small_disks else {})
        clips = asyncio.create_task(self._submit_clips())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(disturb(self._scene, REDIS_DISTURBANCES, duration_s, self.report.done))
                group.create_task(disturb(self._scene, kinds, duration_s, self.report.done))
            if clips.done():
                await clips
        finally:
            clips.cancel()
            await asyncio.gather(clips, return_exceptions=True)

    async def _stored(self) -> dict[str, list[Event]]:
        """All events, once every session has ended. Raises FailedRunError."""
        sys.stderr.write("undisturbed from now on; waiting for all sessions to end\n")
        for one in self._submitted:
            try:
                async with asyncio.timeout(END_WITHIN_S):
                    while (await self._api.session(one.session_id)).state not in ENDED_STATES:  # noqa: ASYNC110
                        await asyncio.sleep(0.5)
            except TimeoutError as error:
                raise FailedRunError(f"session {one.session_id} did not end within {END_WITHIN_S:.0f} s") from error
        async with asyncio.timeout(END_WITHIN_S):
            return {one.session_id: await self._api.events(one.session_id) for one in self._submitted}

    async def _settle(self, everything: Follower, stored: dict[str, list[Event]]) -> None:
        """Wait until followers and receivers have everything, or for END_WITHIN_S; the checks say what is missing."""
        sys.stderr.write("waiting for followers and webhooks\n")
        due = [one.session_id for one in self._submitted if one.receiver != Receivers.NEVER]
        count = sum(map(len, stored.values()))

        def has_everything() -> bool:
            delivered = (set(self._scene.receivers.ids[one]) >= set(checks.ids(stored[one])) for one in due)
            followed = (follower.has_ended() for follower in self._followers)
            return len(everything.events) >= count and all(followed) and all(delivered)

        loop = asyncio.get_running_loop()
        until_s = loop.time() + END_WITHIN_S
        while not has_everything() and loop.time() < until_s:
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.5)

    def _check(self, everything: Follower, long_followers: list[Follower], stored: dict[str, list[Event]]) -> None:
        report, hooks = self.report, self._scene.receivers
        followers = [*self._followers, everything]
        report.sessions, report.events = len(stored), sum(map(len, stored.values()))
        report.connections = sum(follower.connections for follower in followers)
        report.redelivered = sum(len(ids) - len(set(ids)) for ids in hooks.ids.values())
        report.longest_silence_s = max(follower.longest_silence_s for follower in long_followers)
        report.longest_webhook_silence_s = hooks.longest_silence_s
        report.outcomes = [
            checks.none_ended([*self._scene.servers, *self._scene.workers]),
            checks.stored_once_in_order(stored),
            checks.files_undisturbed(self._submitted, stored),
            checks.none_failed(self._submitted, stored),
            checks.followed_once_in_order(followers, stored),
            checks.delivered_in_order(self._submitted, stored, hooks),
            checks.never_silent(long_followers),
        ]


async def run(duration_s: float, seed: int, folder: Path) -> Report:
    rng = random.Random(seed)
    model = checkpoint_for(write_lively_video(folder / "v.mp4", count=120), folder)
    detector = Detector.load(model)
    films = []
    for name, length_s in (("long", duration_s), ("clip", CLIP_S)):
        path = write_lively_video(folder / f"{name}.mp4", count=round(RATE_HZ * length_s))
        films.append(Film(path, expected_actions(path, detector)))
    async with AsyncExitStack() as stack:
        built = await stack.enter_async_context(scene(folder, model, rng))
        api = Api(built.urls, rng)
        stack.push_async_callback(api.aclose)
        playing = Run(built, api, films[0], films[1], rng)
        await playing.play(duration_s)
        return playing.report
