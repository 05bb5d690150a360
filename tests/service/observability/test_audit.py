"""The audit log names who did what, without secrets, and stays bounded."""

import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.observability.audit import KEPT_FILES, VIEW_EVERY_S, AuditActor, AuditLog
from tests.support.access_kit import bearer, make_key
from tests.support.running_server import SECRET_URL, running_server

ALICE = AuditActor(key="0" * 16, key_name="alice", address="192.0.2.1")


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def actions(recorded: Iterable[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(entry["action"], entry.get("what")) for entry in recorded]


async def test_requests_that_submit_view_change_and_delete_are_recorded_with_their_key(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        key = await make_key(server, "admin", name="alice")

        async def send(method: str, path: str, **options: Any) -> httpx.Response:
            answer = await server.http.request(method, path, headers=bearer(key), **options)
            return answer.raise_for_status()

        webhook = {"url": "http://127.0.0.1:9/hook?token=hunter2"}
        body = {"source": {"url": SECRET_URL}, "name": "gate", "webhook": webhook}
        session = (await send("POST", "/v1/sessions", json=body)).json()
        links = session["links"]
        for _ in range(3):
            await send("GET", links["events"])
            await send("GET", links["scores"])
            await send("GET", links["self"])
            await send("GET", f"{links['self']}/webhook")
        await send("POST", f"{links['self']}/webhook/rotate-secret", json={})
        await send("DELETE", links["self"])
        await send("DELETE", links["self"])
        await server.http.get(links["self"])
        recorded = entries(server.settings.audit_path)
        assert actions(recorded) == [
            ("session.submit", None),
            ("session.view", "events"),
            ("session.view", "scores"),
            ("session.view", "session"),
            ("session.view", "webhook"),
            ("webhook.rotate_secret", None),
            ("session.stop", None),
            ("session.delete", None),
        ]
        for entry in recorded:
            assert (entry["key_name"], entry["session"], entry["address"]) == ("alice", session["id"], "127.0.0.1")
            assert len(entry["request_id"]) == 32
        assert recorded[0]["name"] == "gate"
        text = server.settings.audit_path.read_text()
        assert "hunter2" not in text
        assert key not in text
        assert stat.S_IMODE(server.settings.audit_path.stat().st_mode) == 0o600


async def test_a_look_at_the_list_of_sessions_is_recorded(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        assert (await server.http.get("/v1/sessions")).status_code == 200
        [entry] = entries(server.settings.audit_path)
    assert (entry["action"], entry["what"], entry["session"]) == ("session.view", "sessions", "all")


def test_a_view_is_recorded_again_after_a_while(tmp_path: Path) -> None:
    times_s = iter((0.0, 1.0, VIEW_EVERY_S - 1, VIEW_EVERY_S, VIEW_EVERY_S + 1, VIEW_EVERY_S + 2))
    audit = AuditLog(tmp_path / "audit.jsonl", clock_s=lambda: next(times_s))
    for _ in range(5):
        audit.record_view(ALICE, session="s", what="snapshot")
    audit.record_view(ALICE, session="s", what="events")
    audit.close()
    assert actions(entries(tmp_path / "audit.jsonl")) == [
        ("session.view", "snapshot"),
        ("session.view", "snapshot"),
        ("session.view", "events"),
    ]


def test_the_files_are_rotated_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.observability.audit.MAX_FILE_BYTES", 1000)
    audit = AuditLog(tmp_path / "audit.jsonl")
    for number in range(200):
        audit.record("session.submit", ALICE, session=str(number))
    audit.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEPT_FILES + 1
    assert all(path.stat().st_size <= 1000 for path in files)
    assert entries(tmp_path / "audit.jsonl")[-1]["session"] == "199"


def test_a_file_that_cannot_be_written_does_not_fail_the_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = AuditLog(tmp_path / "missing" / "audit.jsonl")
    audit.record("session.submit", ALICE, session="1")
    assert "FileNotFoundError" in capsys.readouterr().err
