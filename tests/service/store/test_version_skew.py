"""Two versions share a store: each ignores what it does not know, and skips rows that it cannot read."""

import json
import shutil
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from service.errors import NotFoundError, StoreUnavailableError
from service.schemas import NamedRegion, VideoProperties
from service.store import open_store
from service.store.reading import (
    dump_event,
    dump_session,
    dump_worker,
    parse_event,
    parse_session,
    parse_worker,
    stored_update,
)
from service.store.records import SessionRecord, SessionUpdate
from service.store.worker_records import WorkerInfo
from tests.support.other_version import Backend
from tests.support.paths import ROOT
from tests.support.previous_release import ARCHIVE, forget_new_fields
from tests.support.redis_server import RedisServer
from tests.support.store_kit import (
    MODEL,
    Clock,
    claimed,
    event_ids,
    queue,
    record,
    start,
    with_worker,
)

Row = dict[str, Any]


def newer_event(session_id: str, event_id: str) -> Row:
    return {**json.loads(start(session_id, event_id).model_dump_json()), "colour": "red"}


async def test_unknown_fields_are_ignored(backend: Backend, clock: Clock) -> None:
    async with with_worker(backend.open(clock)) as store:
        session = await claimed(store)
        properties = {"codec": "h264", "width": 2, "height": 2, "rate_hz": None, "duration_s": None, "rotation_deg": 0}
        backend.change_session(session.id, {"priority": 3, "video": {**properties, "colour": "bt709"}})
        backend.append_event(session.id, newer_event(session.id, "5-0"))
        read = await store.sessions.get(session.id)
        assert read.video is not None
        assert read.video.codec == "h264"
        assert await event_ids(store, session.id) == ["0-0", "5-0"]
        assert [entry.event.id for entry in (await store.log.read(after="0")).entries] == ["0-0", "5-0"]


async def test_a_commit_keeps_fields_of_a_newer_version(backend: Backend, clock: Clock) -> None:
    async with with_worker(backend.open(clock)) as store:
        session = await claimed(store)
        backend.change_session(session.id, {"priority": 3})
        await store.log.commit(
            session.id, session.token, events=[start(session.id, "5-0")], update=SessionUpdate(position_s=0.005)
        )
        assert backend.session_field(session.id, "priority") == 3
        assert (await store.sessions.get(session.id)).position_s == 0.005


async def test_events_of_an_unknown_type_are_skipped_and_the_cursor_passes_them(backend: Backend, clock: Clock) -> None:
    async with with_worker(backend.open(clock)) as store:
        session = await claimed(store)
        for number in range(1, 30):
            backend.append_event(session.id, {**newer_event(session.id, f"{number}-0"), "type": "action.lost"})
        backend.append_event(session.id, newer_event(session.id, "40-0"))
        assert await event_ids(store, session.id) == ["0-0", "40-0"]
        assert [event.id for event in await store.log.read_events(session.id, after="0-0", limit=1)] == ["40-0"]
        page = await store.log.read(after="0", limit=2)
        assert [entry.event.id for entry in page.entries] == ["0-0", "40-0"]
        backend.append_event(session.id, {**newer_event(session.id, "50-0"), "type": "action.lost"})
        unreadable = await store.log.read(after=page.cursor)
        assert unreadable.entries == []
        assert unreadable.cursor == await store.log.end()


async def test_a_failure_code_of_a_newer_version_reads_as_internal(backend: Backend, clock: Clock) -> None:
    async with with_worker(backend.open(clock)) as store:
        session = await claimed(store)
        backend.change_session(session.id, {"state": "failed", "code": "camera_stolen"})
        assert (await store.sessions.get(session.id)).code == "internal"
        ending = {**newer_event(session.id, "9-0"), "type": "session.state", "state": "failed", "code": "camera_stolen"}
        backend.append_event(session.id, {name: ending[name] for name in ending if name not in ("label", "score")})
        assert await event_ids(store, session.id) == ["0-0", "9-0"]


async def test_a_session_that_cannot_be_read_holds_up_no_other(backend: Backend, clock: Clock) -> None:
    async with with_worker(backend.open(clock)) as store:
        newer, older = await queue(store), await queue(store)
        backend.change_session(newer.id, {"source": {"kind": "satellite"}})
        assert [session.id for session in (await store.sessions.page(limit=5))[0]] == [older.id]
        with pytest.raises(StoreUnavailableError, match="another version"):
            await store.sessions.get(newer.id)
        taken = await store.workers.claim("w1")
        assert taken is not None
        assert taken.id == older.id
        assert await store.workers.claim("w1") is None
        assert (await store.workers.load()).sessions["queued"] == 2
        # A worker that can read it takes it.
        backend.change_session(newer.id, {"source": {"kind": "push"}})
        async with with_worker(backend.open(clock)) as newer_store:
            taken = await newer_store.workers.claim("w1")
            assert taken is not None
            assert taken.id == newer.id


async def test_an_ended_session_that_cannot_be_read_is_deleted_in_its_time(backend: Backend, clock: Clock) -> None:
    async with with_worker(backend.open(clock)) as store:
        session = await queue(store)
        await store.sessions.request_stop(session.id)
        backend.change_session(session.id, {"source": {"kind": "satellite"}})
        later = datetime.now(UTC) + timedelta(days=1)
        assert await store.sessions.ended_before(later, limit=5) == [session.id]
        await store.sessions.require_ended(session.id)
        await store.sessions.delete(session.id)
        assert await store.sessions.existing([session.id]) == set()


async def test_each_unreadable_row_is_counted_once(tmp_path: Path) -> None:
    counted: list[str] = []
    async with with_worker(open_store(f"sqlite://{tmp_path / 'cake.db'}", count_unreadable=counted.append)) as store:
        session = await claimed(store)
        backend = Backend("sqlite", tmp_path, None)
        backend.append_event(session.id, {"id": "5-0", "type": "action.lost"})
        for _ in range(3):
            assert await event_ids(store, session.id) == ["0-0"]
    assert counted == ["event"]


async def test_data_of_a_newer_format_are_refused(redis_url: str, shared_redis: RedisServer) -> None:
    with shared_redis.client() as client:
        client.set("{cake}:format", "2")
    store = open_store(redis_url)
    for call in (store.sessions.request_stop("a"), store.workers.live()):
        with pytest.raises((StoreUnavailableError, NotFoundError)) as refused:
            await call
    assert "newer CAKE" in str(refused.value)
    await store.close()


def test_records_of_the_previous_release_are_read() -> None:
    """As version 0.1 wrote them."""
    stored = {
        "id": "a",
        "source": {"kind": "url", "url": "rtsp://u:p@camera/1", "transport": "tcp", "max_down_s": None},
        "model": "mocap",
        "model_version": "abc",
        "labels": ["kick"],
        "pace": "realtime",
        "cost_steps_per_s": 10.0,
        "created_at": datetime.now(UTC).isoformat(),
        "webhook": {"url": "https://example.org/", "secret": "whsec_x"},
        "state": "running",
        "video": {"codec": "h264", "width": 2, "height": 2, "rate_hz": 25.0, "duration_s": None, "rotation_deg": 0,
                  "live": True},
        "position_s": 3.5,
        "frames": 35,
        "last_event_id": "3500-0",
        "token": 2,
    }  # fmt: skip
    read = SessionRecord.model_validate(stored)
    assert (read.source.kind, read.position_s, read.worker_deaths) == ("url", 3.5, 0)


def test_the_previous_release_can_read_the_properties_of_a_video() -> None:
    """Version 0.1 rejects unknown fields there, but ignores them one level up."""
    properties = {"codec": "h264", "width": 2, "height": 2, "rate_hz": None, "duration_s": None, "rotation_deg": 0}
    region = {"x": 0.1, "y": 0.0, "width": 0.8, "height": 1.0}
    video = VideoProperties.model_validate({**properties, "live": True, "mirrored": True, "analysed": region})
    written = dump_session(record().model_copy(update={"video": video}))
    assert set(json.loads(written)["video"]) == {*properties, "live"}
    assert parse_session(written).video == video
    update = stored_update(SessionUpdate(video=video))
    assert set(update["video"]) == {*properties, "live"}


def test_the_previous_release_can_read_sources_and_workers() -> None:
    """Fields that version 0.1 lacks are written elsewhere, or only when they are set."""
    stored = json.loads(record().model_dump_json())["source"]
    assert set(stored) == {"kind", "url", "transport", "max_down_s"}
    model = MODEL.model_copy(update={"framing": "stretch", "warnings": ["not calibrated"]})
    worker = WorkerInfo("w1", 1.0, (model,))
    written = dump_worker(worker)
    assert set(json.loads(written)["models"][0]) == {"name", "version", "labels", "sample_hz", "image_size"}
    assert parse_worker(written) == worker
    without_fields_beside = {name: value for name, value in json.loads(written).items() if "since" not in name}
    assert parse_worker(json.dumps(without_fields_beside)).models == (MODEL,)


def test_the_previous_release_reads_sources_and_events_without_regions_and_rejects_those_with_some() -> None:
    """Version 0.1 would ignore a session's regions and analyse the whole frame, but it rejects unknown fields of a
    source and of an event.
    """
    event = start("a", "5-0")
    known, others = dump_event(event)
    assert ("region" in json.loads(known), others) == (False, None)
    at_the_door = event.model_copy(update={"region": "door", "name": "gate"})
    assert dump_event(at_the_door) == (known, '{"name":"gate","region":"door"}')
    assert parse_event(*dump_event(at_the_door)) == at_the_door
    door = NamedRegion(name="door", x=0, y=0, width=0.5, height=1)
    source = record().source.model_copy(update={"regions": (door,)})
    written = record().model_copy(update={"source": source}).model_dump_json()
    assert json.loads(written)["source"]["regions"] == [{"x": 0, "y": 0, "width": 0.5, "height": 1, "name": "door"}]
    assert SessionRecord.model_validate_json(written).regions == (door,)


def test_a_model_without_the_new_fields_is_one_for_the_previous_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise `make previous-release` could not run both releases with one model."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extract("model/config.py", tmp_path, filter="data")
    spec = spec_from_file_location("previous_config", tmp_path / "model/config.py")
    assert spec is not None
    assert spec.loader is not None
    previous = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, previous)
    spec.loader.exec_module(previous)
    shutil.copy(ROOT / "model" / "weights" / "mocap" / "model.json", tmp_path)
    forget_new_fields(tmp_path)
    assert previous.ModelConfig.from_json(json.loads((tmp_path / "model.json").read_text())).labels[0] == "background"
