"""Submit sessions by URL or push, with valid and invalid options."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.api_kit import VIDEO, problem, stored_uploads, upload
from tests.support.running_server import MODEL, SECRET_URL, Running, running_server


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_upload_bytes=4_000_000) as running:
        yield running


async def test_a_url_becomes_a_queued_session_without_its_secrets(server: Running) -> None:
    response = await server.http.post(
        "/v1/sessions", json={"source": {"url": SECRET_URL}, "labels": ["jump", "jump"], "name": "yard"}
    )
    session = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == session["links"]["self"] == f"/v1/sessions/{session['id']}"
    assert (session["state"], session["labels"], session["name"]) == ("queued", ["jump"], "yard")
    assert session["source"] == {
        "kind": "url",
        "stream": None,
        "live": None,
        "url": "http://example.org/clip.mp4?…",
        "transport": "tcp",
        "max_down_s": None,
    }
    assert (await server.http.get(response.headers["location"])).json() == session
    source = (await server.worker.claim()).source
    assert source.model_dump(mode="json")["url"] == SECRET_URL
    assert "hunter2" not in repr(source)


async def test_a_session_and_its_events_carry_the_metadata_of_the_submission(server: Running) -> None:
    session = await server.submit(name="gate", metadata={"site": "north", "floor.2": "é"})
    assert session.metadata == {"site": "north", "floor.2": "é"}
    (event,) = (await server.http.get(session.links.events)).json()["events"]
    assert (event["name"], event["metadata"]) == ("gate", session.metadata)


@pytest.mark.parametrize(
    "metadata", [{"a b": "c"}, {"": "c"}, {"a": 1}, {"a": None}, {"a": "x" * 4096}, {"a": "é" * 2048}, ["a"]]
)
async def test_metadata_is_a_small_map_of_strings(server: Running, metadata: object) -> None:
    body = {"source": {"url": SECRET_URL}, "metadata": metadata}
    rejected = problem(await server.http.post("/v1/sessions", json=body), 422, "invalid_request")
    assert rejected.errors
    assert all(error.field.startswith("metadata") for error in rejected.errors)


async def test_a_session_may_choose_a_video_stream(server: Running) -> None:
    await upload(server, source={"stream": 2})
    uploaded = await server.worker.claim()
    assert (uploaded.source.stream, uploaded.time_zero) == (2, "source_start")
    source = {"url": "http://example.org/clip.mp4", "stream": 1}
    response = await server.http.post("/v1/sessions", json={"source": source})
    assert response.json()["source"]["stream"] == 1
    assert (await server.worker.claim()).source.stream == 1


@pytest.mark.parametrize("stream", [-1, 100, "first"])
async def test_an_impossible_video_stream_is_rejected(server: Running, stream: object) -> None:
    source = {"url": "http://example.org/clip.mp4", "stream": stream}
    response = await server.http.post("/v1/sessions", json={"source": source})
    assert "stream" in problem(response, 422, "invalid_request").model_dump_json()
    assert (await upload(server, source={"stream": stream})).status_code == 422


@pytest.mark.parametrize(
    ("url", "pace"),
    [("rtsp://8.8.8.8/v", "realtime"), ("SRT://8.8.8.8:9000", "realtime"), ("https://8.8.8.8/v.mp4", "fast")],
)
async def test_a_camera_is_always_realtime(server: Running, url: str, pace: str) -> None:
    session = (await server.http.post("/v1/sessions", json={"source": {"url": url}})).json()
    assert session["pace"] == pace
    record = await server.worker.store.sessions.get(session["id"])
    assert record.cost_steps_per_s == (MODEL.sample_hz if pace == "realtime" else 2.0)


async def test_a_repeated_request_with_the_same_idempotency_key_has_no_effect(server: Running) -> None:
    first = await upload(server, key="k1", name="a")
    again = await upload(server, key="k1", name="a")
    assert again.status_code == 202
    assert again.json() == first.json()
    assert stored_uploads(server) == [VIDEO]
    problem(await upload(server, key="k1", name="b"), 409, "idempotency_conflict")
    problem(await upload(server, key="k1", name="a", video=VIDEO + b"x"), 409, "idempotency_conflict")
    assert stored_uploads(server) == [VIDEO]
    assert len((await server.http.get("/v1/sessions")).json()["sessions"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "source"),
        ({"source": {"url": "ftp://example.org/a"}}, "source.url"),
        ({"source": {"url": "file:///etc/passwd"}}, "source.url"),
        ({"source": {"url": "https://example.org/v.mp4", "transport": "udp"}}, "source"),
        ({"source": {"url": "rtsp://example.org/v", "max_down_s": 0}}, "source.max_down_s"),
        ({"source": {"url": "http://a/b"}, "pace": "slow"}, "pace"),
        ({"source": {"url": "http://a/b"}, "labels": []}, "labels"),
        ({"source": {"url": "http://a/b"}, "nonsense": 1}, "nonsense"),
        ([], "body"),
    ],
)
async def test_an_invalid_request_names_the_field(server: Running, body: object, field: str) -> None:
    refused = problem(await server.http.post("/v1/sessions", json=body), 422, "invalid_request")
    assert refused.errors is not None
    assert [error.field for error in refused.errors] == [field]
    assert field in refused.detail


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.1:8000/", "http://[::1]/v"])
async def test_a_url_with_a_private_address_is_rejected_immediately(server: Running, url: str) -> None:
    problem(await server.http.post("/v1/sessions", json={"source": {"url": url}}), 403, "source_forbidden")


async def test_unknown_models_and_labels_are_rejected_with_the_known_ones(server: Running) -> None:
    url = {"source": {"url": "http://a/b"}}
    refused = problem(await server.http.post("/v1/sessions", json={**url, "model": "x"}), 422, "unknown_model")
    assert refused.known == ["mocap"]
    refused = problem(await server.http.post("/v1/sessions", json={**url, "labels": ["fly"]}), 422, "unknown_label")
    assert refused.known == MODEL.labels
    assert "fly" in refused.detail
    problem(await upload(server, labels=["fly"]), 422, "unknown_label")
    assert stored_uploads(server) == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_other_content_types_are_rejected(server: Running, content_type: str) -> None:
    response = await server.http.post("/v1/sessions", content=b"x", headers={"Content-Type": content_type})
    problem(response, 415, "unsupported_media_type")


async def test_a_session_beyond_the_capacity_gets_retry_after(server: Running) -> None:
    server.worker.capacity_steps_per_s = 25
    await server.worker.register()
    for _ in range(2):
        await server.submit(pace="realtime")
    await server.submit(pace="fast")
    refused = await server.http.post("/v1/sessions", json={"source": {"url": "http://a/b"}, "pace": "realtime"})
    problem(refused, 503, "over_capacity")
    assert int(refused.headers["retry-after"]) > 0


@pytest.mark.parametrize("password", ["12/34secret", "12?34secret", "12#34secret", "pa/ss", "12@34/secret"])
async def test_a_password_that_is_not_percent_encoded_is_refused_and_not_shown(server: Running, password: str) -> None:
    answer = await server.http.post("/v1/sessions", json={"source": {"url": f"rtsp://admin:{password}@8.8.8.8:9/x"}})
    error = problem(answer, 422, "invalid_request")
    assert error.errors is not None
    assert "Percent-encode the password" in error.errors[0].message
    assert password not in answer.text
    assert (await server.http.get("/v1/sessions")).json()["sessions"] == []


@pytest.mark.parametrize(
    "url", ["https://8.8.8.8/@user/v.mp4", "https://8.8.8.8:443/v.mp4?by=a%40b", "rtsp://a:b%2Fc@8.8.8.8/v"]
)
async def test_an_at_sign_that_cannot_end_a_password_is_taken(server: Running, url: str) -> None:
    assert (await server.http.post("/v1/sessions", json={"source": {"url": url}})).status_code == 202
