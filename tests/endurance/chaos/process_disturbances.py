"""Disturbances of servers, workers, their disks and webhook receivers. Each disturbance ends when it is undone."""

import asyncio

from tests.endurance.chaos.program import Program
from tests.endurance.chaos.redis_disturbances import Disturbance
from tests.endurance.chaos.scene import Scene

STOPPED_S = (2.0, 25.0)
"""Longer than a lease of a worker, and than the patience of the servers with the one that delivers webhooks."""
FULL_S = (5.0, 15.0)
HANGING_S = (5.0, 20.0)


async def killed_worker(scene: Scene) -> None:
    worker = scene.rng.choice([one for one in scene.workers if one.is_running])
    await worker.kill()
    await (await scene.start_worker()).ready("/readyz")


async def killed_server(scene: Scene) -> None:
    server = scene.rng.choice(scene.servers)
    await server.kill()
    await server.start()
    await server.ready("/livez")


async def stopped_worker(scene: Scene) -> None:
    await _stopped(scene, scene.rng.choice([one for one in scene.workers if one.is_running]))


async def stopped_server(scene: Scene) -> None:
    await _stopped(scene, scene.rng.choice(scene.servers))


async def full_disk_of_a_server(scene: Scene) -> None:
    await _full_disk(scene, scene.rng.choice(scene.servers))


async def full_disk_of_a_worker(scene: Scene) -> None:
    await _full_disk(scene, scene.rng.choice([one for one in scene.workers if one.is_running]))


async def hanging_receiver(scene: Scene) -> None:
    scene.receivers.hang()
    try:
        await asyncio.sleep(scene.rng.uniform(*HANGING_S))
    finally:
        scene.receivers.answer()


async def _stopped(scene: Scene, program: Program) -> None:
    program.stop()
    try:
        await asyncio.sleep(scene.rng.uniform(*STOPPED_S))
    finally:
        program.go_on()


async def _full_disk(scene: Scene, program: Program) -> None:
    filler = await program.fill_disk()
    try:
        await asyncio.sleep(scene.rng.uniform(*FULL_S))
    finally:
        await asyncio.to_thread(filler.unlink)


PROCESS_DISTURBANCES: dict[str, Disturbance] = {
    "worker killed": killed_worker,
    "worker stopped": stopped_worker,
    "server killed": killed_server,
    "server stopped": stopped_server,
    "receiver hanging": hanging_receiver,
}
DISK_DISTURBANCES: dict[str, Disturbance] = {
    "full disk of a server": full_disk_of_a_server,
    "full disk of a worker": full_disk_of_a_worker,
}
