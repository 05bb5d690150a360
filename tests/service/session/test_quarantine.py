"""A session that kills its workers is given up; one whose worker merely died with it is not."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.session.detection import Detection
from service.session.quarantine import MAX_DEATHS, PROGRESS_S, deaths_in_a_row, is_suspect
from service.store.records import SessionRecord
from tests.support.disturbed_place import Place
from tests.support.session_kit import a_worker, states, submit
from tests.support.store_kit import record as a_record


def claimed(**fields: object) -> SessionRecord:
    state: dict[str, object] = {"state": "running", "claimed_at_position_s": 5.0, "position_s": 5.0}
    return a_record().model_copy(update=state | fields)


@pytest.mark.parametrize(
    ("fields", "deaths"),
    [
        ({"worker_deaths": 1}, 2),
        ({"worker_deaths": 2, "position_s": 5.0 + PROGRESS_S - 0.1}, 3),
        ({"worker_deaths": 2, "position_s": 5.0 + PROGRESS_S}, 1),
        ({"worker_deaths": 2, "claimed_at_position_s": None}, 0),
        ({"worker_deaths": 2, "state": "reconnecting"}, 2),
    ],
)
def test_deaths_without_progress_are_counted(fields: dict[str, object], deaths: int) -> None:
    assert deaths_in_a_row(claimed(**fields)) == deaths


def test_a_session_is_suspect_before_its_last_chance_and_until_it_has_progressed() -> None:
    assert not is_suspect(claimed(worker_deaths=MAX_DEATHS - 2))
    assert is_suspect(claimed(worker_deaths=MAX_DEATHS - 1))
    assert not is_suspect(claimed(worker_deaths=MAX_DEATHS - 1, position_s=5.0 + PROGRESS_S))


async def die_while_it_runs(place: Place) -> None:
    """Run the session until its second frame, then vanish as a killed worker does."""
    session = await place.claim()
    running = asyncio.create_task(session.run())
    loop = asyncio.get_running_loop()
    place.detector.before_step = {place.detector.steps + 2: lambda: loop.call_soon_threadsafe(running.cancel)}
    with pytest.raises(asyncio.CancelledError):
        await running
    await place.store.workers.release("w1")


async def die_while_it_begins(place: Place) -> None:
    """Vanish when the detection is to begin."""

    async def crash(*_arguments: object) -> None:
        raise asyncio.CancelledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Detection, "begin", crash)
        with pytest.raises(asyncio.CancelledError):
            await (await place.claim()).run()
    await place.store.workers.release("w1")


async def hand_over_while_it_runs(place: Place) -> None:
    session = await place.claim()
    loop = asyncio.get_running_loop()
    place.detector.before_step = {place.detector.steps + 2: lambda: loop.call_soon_threadsafe(session.hand_over)}
    await session.run()
    await place.store.workers.release("w1")


@pytest.mark.parametrize("die", [die_while_it_runs, die_while_it_begins])
async def test_a_session_that_kills_three_workers_fails_and_says_so(
    place: Place, video: Path, die: Callable[[Place], Awaitable[None]]
) -> None:
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    for _ in range(MAX_DEATHS):
        await die(place)
    with capture_logs() as lines:
        await (await place.claim()).run()
    record, events = await place.reported(queued.id)
    assert (record.state, record.code) == ("failed", "internal")
    assert record.detail is not None
    assert "crashed the server's worker process 3 times" in record.detail
    assert states(events)[-1] == "failed"
    assert place.metrics.poison.labels("sessions")._value.get() == 1
    taken_over = next(line for line in lines if line["event"] == "session taken over from a worker that died")
    assert (taken_over["session"], taken_over["worker_deaths"]) == (queued.id, MAX_DEATHS)


async def test_deaths_are_counted_also_when_the_session_was_queued_in_between(place: Place, video: Path) -> None:
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    for _ in range(MAX_DEATHS):
        await die_while_it_runs(place)
        assert await place.store.sessions.requeue(queued.id, "No worker is running.")
    await (await place.claim()).run()
    assert (await place.reported(queued.id))[0].code == "internal"


async def test_a_session_that_was_handed_over_again_and_again_completes(place: Place, video: Path) -> None:
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    for _ in range(2 * MAX_DEATHS):
        await hand_over_while_it_runs(place)
    await (await place.claim()).run()
    record, _ = await place.reported(queued.id)
    assert (record.state, record.worker_deaths) == ("completed", 0)
