"""The events of a session are exported as files that other programs read."""

import csv
import io
import json
from pathlib import Path

from model.training.layouts.annotations import read_annotations
from service.api.event_formats import Action, actions_of, csv_header, csv_rows, webvtt
from service.event_schemas import ActionEndEvent, ActionStartEvent, Event, event_key
from service.store.records import SessionUpdate
from tests.support.api_kit import problem
from tests.support.running_server import Running
from tests.support.store_kit import start


def started(event_id: str, label: str, start_s: float) -> ActionStartEvent:
    return start("s", event_id).model_copy(update={"label": label, "start_s": start_s})


def ended(event: ActionStartEvent, event_id: str, end_s: float) -> ActionEndEvent:
    known = event.model_dump(exclude={"type"}) | {"id": event_id, "decided_s": event_key(event_id)[0] / 1000}
    return ActionEndEvent.model_validate({**known, "end_s": end_s})


async def test_every_format_is_a_download_with_all_events_that_are_wanted(server: Running) -> None:
    session = await server.running_session()
    await server.worker.starts(session.id, [0.5, 1.5])
    path = f"{session.links.self}/export"
    files = {}
    for file_format, media_type in (("csv", "text/csv"), ("jsonl", "application/jsonl"), ("webvtt", "text/vtt")):
        answer = await server.http.get(path, params={"format": file_format})
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.headers["content-disposition"].startswith(f'attachment; filename="{session.id}.')
        files[file_format] = answer.text
    rows = list(csv.DictReader(io.StringIO(files["csv"])))
    events = [json.loads(line) for line in files["jsonl"].splitlines()]
    assert [row["id"] for row in rows] == [event["id"] for event in events] == ["0-0", "0-1", "500-0", "1500-0"]
    assert events == (await server.http.get(session.links.events)).json()["events"]
    wanted = await server.http.get(path, params={"format": "jsonl", "type": "action.start"})
    assert [json.loads(line)["id"] for line in wanted.text.splitlines()] == ["500-0", "1500-0"]
    problem(await server.http.get(path), 422, "invalid_request")
    problem(await server.http.get(path, params={"format": "xlsx"}), 422, "invalid_request")
    problem(await server.http.get("/v1/sessions/none/export", params={"format": "csv"}), 404, "not_found")


async def test_annotations_are_read_by_the_training_code(server: Running, tmp_path: Path) -> None:
    session = await server.running_session()
    await server.worker.starts(session.id, [0.5])
    token = server.worker.records[session.id].token
    await server.worker.store.log.commit(session.id, token, update=SessionUpdate(position_s=2.0))
    exported = await server.http.get(f"{session.links.self}/export", params={"format": "activitynet"})
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / f"{session.id}.mp4").touch()
    (tmp_path / "annotations.json").write_text(exported.text)
    (video,) = read_annotations(tmp_path)
    assert video.segments == ((0.5, 2.0, "kick"),)


def test_actions_are_ordered_by_their_start_and_open_ones_last_until_now() -> None:
    long, short, opened = started("500-0", "run", 0.5), started("900-0", "kick", 0.9), started("4000-0", "jump", 4.0)
    events: list[Event] = [long, short, ended(short, "1200-0", 1.2), ended(long, "3000-0", 3.0), opened]
    assert [(one.label, one.start_s, one.end_s) for one in actions_of(events, until_s=5.0)] == [
        ("run", 0.5, 3.0),
        ("kick", 0.9, 1.2),
        ("jump", 4.0, 5.0),
    ]


def test_cues_have_clock_times_and_no_markup() -> None:
    actions = [Action("door", "a<b>&c", 0.914, 3661.5, 3662.0), Action(None, "kick", 0.5, 3663.0, 3663.0)]
    assert webvtt(actions) == (
        "WEBVTT\n\n01:01:01.500 --> 01:01:02.000\ndoor: a&lt;b&gt;&amp;c 91%\n"
        "\n01:01:03.000 --> 01:01:03.001\nkick 50%\n"
    )


def test_a_cell_that_a_spreadsheet_would_run_is_text() -> None:
    event = started("1-0", "=1+1", 0.0).model_copy(update={"name": 'a,"b"'})
    (row,) = csv.DictReader(io.StringIO(csv_header() + csv_rows([event])))
    assert (row["label"], row["name"], row["end_s"]) == ("'=1+1", 'a,"b"', "")
