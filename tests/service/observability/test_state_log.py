"""Changes of state that servers make are logged like those that workers make (`test_session.py`)."""

from pathlib import Path

from structlog.testing import capture_logs

from tests.support.access_kit import bearer, make_key
from tests.support.running_server import SECRET_URL, running_server


async def test_each_change_of_state_by_a_server_is_one_line_in_its_log(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        headers = bearer(await make_key(server, "admin", name="gate"))
        with capture_logs() as lines:
            first, second = [
                (await server.http.post("/v1/sessions", json=body, headers=headers)).raise_for_status().json()
                for body in ({"source": {"url": SECRET_URL}, "name": "gate"}, {"source": {"push": True}})
            ]
            for _ in range(2):
                await server.http.delete(first["links"]["self"], headers=headers)
            [key] = await server.worker.store.keys.all()
            revoked = await server.http.delete(f"/v1/keys/{key.id}", headers=headers)
            assert revoked.json()["sessions_stopped"] == 1
    logged = [line for line in lines if line["event"] == "session state"]
    assert [(line["session"], line["state"], line["name"]) for line in logged] == [
        (first["id"], "queued", "gate"),
        (second["id"], "queued", None),
        (first["id"], "stopped", "gate"),
        (second["id"], "stopped", None),
    ]
