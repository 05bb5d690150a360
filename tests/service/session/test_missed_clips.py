"""Clips of actions that a person reports as missed while the decoder still has their stream."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from service.feedback import AddedMissedAction
from service.live.missed_clip import NOT_RUNNING, order_missed_clip
from service.schemas import Session
from service.session.clips import AHEAD, NO_STREAM, NOT_NAMED
from service.session.missed_clips import WITHDRAWN
from service.storage.stored_files import StoredClip
from tests.support.clip_kit import images_of_clip
from tests.support.live_place import Place, Running, a_place
from tests.support.push_kit import Pushing, pushing, slowly
from tests.support.rtsp_server import RtspServer, rtsp_server
from tests.support.store_kit import missed_action
from tests.support.tiny_model import LABELS

KICK = LABELS[1]


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    with rtsp_server() as server:
        yield server


async def report(place: Place, running: Running, number: int, start_s: float, label: str = KICK) -> str | None:
    """Keep the feedback as a server does, and return why there will be no clip."""
    session_id = running.session.record.id
    feedback = missed_action(missed_id(number), start_s, label)
    await place.store.feedback.put(session_id, feedback, max_kept=100)
    return await order_missed_clip(session_id, place.gate.address, feedback.id)


def missed_id(number: int) -> str:
    return f"missed-{number:032x}"


async def stored(place: Place, running: Running, number: int) -> StoredClip:
    async with asyncio.timeout(100):
        while (clip := await place.blobs.find_clip(running.session.record.id, missed_id(number))) is None:
            await place.store.log.wait(await place.store.log.end(), timeout_s=0.05)
    return clip


async def test_a_missed_action_of_a_camera_has_a_clip_of_every_frame_around_its_start(
    model: Path, tmp_path: Path, camera: RtspServer
) -> None:
    async with (
        a_place(tmp_path, model, clips=(KICK,), clip_before_s=0.4, clip_after_s=1.5) as place,
        place.session(camera.url("fast")) as running,
    ):
        await running.runs(beyond_s=2.0)
        assert await report(place, running, 1, 1.2) is None
        # The rest of this one is yet to come.
        assert await report(place, running, 2, (await running.record()).position_s) is None
        for number, start_s in ((1, 1.2), (2, None)):
            clip = await stored(place, running, number)
            times = [time_s for time_s, _ in images_of_clip(await place.blobs.read_clip(clip), clip.from_s)]
            assert max(after - before for before, after in pairwise(times)) < 0.1
            if start_s is not None:
                assert times[0] <= start_s - 0.4 + 1e-6
                assert times[-1] >= start_s + 1.4
        assert await report(place, running, 3, 1e6) == AHEAD
        assert await report(place, running, 4, 1.2, LABELS[2]) == NOT_NAMED
        assert await order_missed_clip(running.session.record.id, place.gate.address, missed_id(9)) == WITHDRAWN
        assert await order_missed_clip("another", place.gate.address, missed_id(1)) == NOT_RUNNING


async def test_a_missed_action_that_is_no_longer_in_memory_has_no_clip_and_says_so(
    model: Path, tmp_path: Path, camera: RtspServer
) -> None:
    async with (
        a_place(tmp_path, model, clips=("all",), clip_before_s=0.0, clip_max_bytes=64 * 1024) as place,
        place.session(camera.url("fast")) as running,
    ):
        # So small a buffer holds about three seconds.
        await running.runs(beyond_s=6.0)
        problem = await report(place, running, 1, 0.0)
        assert problem is not None
        assert "no longer in memory" in problem
        assert await place.blobs.find_clip(running.session.record.id, missed_id(1)) is None


async def test_while_a_camera_is_lost_its_missed_actions_have_no_clips(
    model: Path, tmp_path: Path, camera: RtspServer
) -> None:
    async with (
        a_place(tmp_path, model, clips=("all",)) as place,
        place.session(camera.url("fast")) as running,
    ):
        await running.runs(beyond_s=0.2)
        camera.stop()
        await running.reaches(lambda record: record.state == "reconnecting")
        assert await report(place, running, 1, 0.0) == NO_STREAM


async def add_missed(pushed: Pushing, session: Session, start_s: float) -> AddedMissedAction:
    answer = await pushed.server.http.post(f"{session.links.self}/feedback", json={"label": KICK, "start_s": start_s})
    assert answer.status_code == 201, answer.text
    return AddedMissedAction.model_validate_json(answer.content)


async def test_the_clip_of_a_missed_action_is_read_in_part_and_deleted_with_it(
    model: Path, tmp_path: Path, stream: bytes
) -> None:
    settings = {"clips": ("all",), "clip_before_s": 0.5, "clip_after_s": 1.0}
    async with pushing(tmp_path, model, **settings) as service, service.worker():
        session, go_on = await service.submit(), asyncio.Event()
        sending = asyncio.create_task(service.put(session, slowly(stream, go_on)))
        await service.reaches(session, lambda record: record.position_s > 0.5)
        # A decoder takes orders when video arrives.
        adding = asyncio.create_task(add_missed(service, session, 0.4))
        go_on.set()
        missed = await adding
        assert missed.clip_problem is None
        await sending
        await service.ends(session)
        path = f"{session.links.self}/feedback/{missed.id}"
        whole = await service.server.http.get(f"{path}/clip.mp4")
        assert whole.status_code == 200, whole.text
        assert images_of_clip(whole.content, float(whole.headers["clip-from-s"]))[0][0] <= 0.4
        part = await service.server.http.get(f"{path}/clip.mp4", params={"before_s": 0.1, "after_s": 0.2})
        assert len(part.content) < len(whole.content)
        assert (await service.server.http.delete(path)).status_code == 204
        clips = service.server.settings.data_dir / "clips" / session.id
        assert [each.name for each in clips.glob("missed-*")] == []
        problem = (await add_missed(service, session, 0.4)).clip_problem
        assert problem is not None
        assert "has ended" in problem
