"""/metrics/sessions: live sessions only, as many as the operator allows, for keys that may see them."""

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from service.store.records import SessionUpdate
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.commands import require_command
from tests.support.running_server import running_server

HOSTILE_NAME = 'gate "1"\\\n# HELP cake_workers x\ncake_workers 9\r\u2028' + "x" * 150
Samples = dict[tuple[str, str], dict[str, float]]


def samples(response: httpx.Response) -> Samples:
    """Values by metric, for each session and name; the state is a part of its metric's name."""
    assert response.status_code == 200, response.text
    found: Samples = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            labels = dict(sample.labels)
            whose = labels.pop("session", ""), labels.pop("name", "")
            found.setdefault(whose, {})["/".join([sample.name, *labels.values()])] = sample.value
    return found


def check_metrics(text: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [require_command("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )


async def test_they_are_off_unless_the_operator_sets_a_limit(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        refused = problem(await server.http.get("/metrics/sessions"), 404, "not_found")
    assert "CAKE_SESSION_METRICS" in refused.detail


async def test_they_say_how_each_session_is(tmp_path: Path) -> None:
    async with running_server(tmp_path, session_metrics=5) as server:
        session = await server.submit(name="gate")
        record = await server.worker.claim()
        waiting = samples(await server.http.get("/metrics/sessions"))[session.id, "gate"]
        assert "cake_session_frame_age_seconds" not in waiting
        arrived_at, decided_at = datetime.now(UTC) - timedelta(minutes=5), datetime.now(UTC)
        await server.worker.enter(session.id, "running")
        start, *_ = await server.worker.starts(session.id, [10.0, 20.0])
        judged = await server.http.put(f"{session.links.events}/{start.id}/feedback", json={"verdict": "wrong"})
        assert judged.status_code == 200, judged.text
        update = SessionUpdate(
            frames=70, dropped_frames=3, reconnects=2, last_frame_at=arrived_at, last_action_at=decided_at
        )
        await server.worker.store.log.commit(record.id, record.token, update=update)
        found = samples(await server.http.get("/metrics/sessions"))[session.id, "gate"]
    assert found.pop("cake_session_frame_age_seconds") >= 300
    assert found.pop("cake_session_last_action_timestamp_seconds") == decided_at.timestamp()
    assert found == {
        "cake_session_state/running": 1,
        "cake_session_frames_total": 70,
        "cake_session_frames_dropped_total": 3,
        "cake_session_reconnects_total": 2,
        "cake_session_position_seconds": 20,
        "cake_session_feedback/kick/right": 0,
        "cake_session_feedback/kick/wrong": 1,
        "cake_session_feedback/kick/missed": 0,
    }


async def test_ended_sessions_and_those_beyond_the_limit_are_omitted(tmp_path: Path) -> None:
    async with running_server(tmp_path, session_metrics=2) as server:
        ids = [(await server.running_session()).id for _ in range(4)]
        await server.worker.enter(ids[0], "completed")
        found = samples(await server.http.get("/metrics/sessions"))
    assert found.pop(("", "")) == {"cake_sessions_left_out": 1}
    assert {session for session, _ in found} == {ids[1], ids[2]}


async def test_any_name_is_one_bounded_label(tmp_path: Path) -> None:
    async with running_server(tmp_path, session_metrics=5) as server:
        session = await server.submit(name=HOSTILE_NAME)
        text = await server.http.get("/metrics/sessions")
    assert samples(text).keys() == {("", ""), (session.id, HOSTILE_NAME[:100])}
    checked = await asyncio.to_thread(check_metrics, text.content)
    assert (checked.returncode, checked.stderr) == (0, b"")


async def test_they_need_a_scope_of_their_own_since_they_name_the_sessions_of_all_keys(tmp_path: Path) -> None:
    async with running_server(tmp_path, session_metrics=5) as server:
        theirs = await make_key(server, "sessions:write")
        body = {"source": {"url": "http://example.org/a.mp4"}, "name": "gate"}
        assert (await server.http.post("/v1/sessions", json=body, headers=bearer(theirs))).status_code == 202
        key = await make_key(server, "metrics:read", "sessions:read")
        problem(await server.http.get("/metrics/sessions", headers=bearer(key)), 403, "missing_scope")
        key = await make_key(server, "metrics:sessions")
        found = samples(await server.http.get("/metrics/sessions", headers=bearer(key)))
    assert [name for session, name in found if session] == ["gate"]
