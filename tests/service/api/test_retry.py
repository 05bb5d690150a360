"""A session of a URL is started once more, with the secrets that only the server has."""

from pathlib import Path

from service.schemas import Session
from service.sources.stored import StoredUrl
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import VIDEO, problem, upload
from tests.support.running_server import SECRET_URL, Running, running_server

REGION = {"name": "door", "x": 0.5, "y": 0.25, "width": 0.5, "height": 0.75}
RULE = {"enter": 0.7, "leave": 0.4, "min_duration_s": 0.2, "refractory_s": 1.0}


async def failed(server: Running, **options: object) -> Session:
    session = await server.submit(**options)
    await server.worker.claim()
    await server.worker.enter(session.id, "failed", code="source_unreachable", detail="The camera does not answer.")
    return session


async def test_a_failed_camera_is_retried_with_its_password_options_and_newest_webhook_secret(server: Running) -> None:
    options = {"name": "gate", "metadata": {"site": "north"}, "labels": ["kick"], "rules": {"kick": RULE}}
    session = await failed(server, **options, regions=[REGION], webhook={"url": "http://127.0.0.1:9/"})
    path = session.links.self
    secret = (await server.http.post(f"{path}/webhook/rotate-secret", json={})).json()["secret"]
    answer = await server.http.post(f"{path}/retry")
    assert answer.status_code == 202, answer.text
    assert "hunter2" not in answer.text
    again = Session.model_validate(answer.json())
    assert (again.id != session.id, again.state, answer.headers["location"]) == (True, "queued", again.links.self)
    record = await server.worker.claim()
    assert record.id == again.id
    assert isinstance(record.source, StoredUrl)
    assert record.source.url.get_secret_value() == SECRET_URL
    assert record.webhook is not None
    assert record.webhook.secret.get_secret_value() == secret
    same = {"name", "metadata", "labels", "rules", "regions", "pace", "model", "source"}
    assert again.model_dump(include=same) == session.model_dump(include=same)
    assert (await server.http.get(path)).json()["state"] == "failed"


async def test_running_sessions_and_those_without_a_url_cannot_be_retried(server: Running) -> None:
    running = await server.running_session()
    assert "Stop it" in problem(await server.http.post(f"{running.links.self}/retry"), 409, "not_retryable").detail
    uploaded = Session.model_validate((await upload(server, video=VIDEO)).json())
    problem(await server.http.post(f"{uploaded.links.self}/retry"), 409, "not_retryable")
    problem(await server.http.post("/v1/sessions/none/retry"), 404, "not_found")


async def test_only_the_owner_retries_a_session(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", auth="required") as server:
        mine, other = [bearer(await make_key(server, "sessions:write")) for _ in range(2)]
        body = {"source": {"url": SECRET_URL}}
        session = Session.model_validate((await server.http.post("/v1/sessions", json=body, headers=mine)).json())
        await server.worker.claim()
        await server.worker.enter(session.id, "failed", code="source_timeout", detail="Nothing came.")
        problem(await server.http.post(f"{session.links.self}/retry", headers=other), 404, "not_found")
        assert (await server.http.post(f"{session.links.self}/retry", headers=mine)).status_code == 202
