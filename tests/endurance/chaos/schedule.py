"""Which disturbance comes when: each kind as often as the others, in a random order."""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping

from tests.endurance.chaos.redis_disturbances import Disturbance
from tests.endurance.chaos.scene import Scene

PAUSE_S = (2.0, 8.0)


async def disturb(scene: Scene, kinds: Mapping[str, Disturbance], duration_s: float, done: Counter[str]) -> None:
    """One after another until the time is up; the last one is finished. `done` counts them by kind."""
    began_s = time.monotonic()
    for kind in _shuffled(list(kinds), scene.rng):
        await asyncio.sleep(scene.rng.uniform(*PAUSE_S))
        if time.monotonic() - began_s > duration_s:
            return
        begun_s = time.monotonic()
        sys.stderr.write(f"{begun_s - began_s:5.0f} s: {kind}\n")
        await kinds[kind](scene)
        done[kind] += 1
        sys.stderr.write(f"{time.monotonic() - began_s:5.0f} s: over: {kind}\n")


def _shuffled(kinds: list[str], rng: random.Random) -> Iterator[str]:
    """For ever."""
    while True:
        rng.shuffle(kinds)
        yield from kinds
