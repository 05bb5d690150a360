"""Live video and scores over a WebSocket: the messages to a client, who may watch, and how it ends."""

import io
import json
from pathlib import Path
from typing import Any

import av
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.schemas import Session
from tests.support.access_kit import bearer, make_key
from tests.support.push_kit import Pushing
from tests.support.rtsp_server import rtsp_server
from tests.support.running_server import running_server


async def test_a_viewer_gets_video_and_scores_until_the_session_ends(pushed: Pushing) -> None:
    texts: list[dict[str, Any]] = []
    parts: list[bytes] = []
    with rtsp_server() as camera:
        body = {"source": {"url": camera.url("fast")}}
        session = Session.model_validate((await pushed.server.http.post("/v1/sessions", json=body)).json())
        await pushed.reaches(session, lambda record: record.state == "running")
        async with connect(f"{pushed.server.ws_url}{session.links.live}", max_size=None) as viewer:
            async for message in viewer:
                if isinstance(message, str):
                    texts.append(json.loads(message))
                else:
                    parts.append(message)
                if len(parts) == 5:
                    await pushed.server.http.delete(session.links.self)
            assert (viewer.close_code, viewer.close_reason) == (1000, "session ended")
    assert {"video.began", "video.clock", "scores"} <= {text["type"] for text in texts}
    with av.open(io.BytesIO(b"".join(parts)), "r") as container:
        assert next(container.decode(video=0)).key_frame


async def test_watching_needs_the_scope_of_snapshots_and_the_session(pushed: Pushing) -> None:
    http, base = pushed.server.http, pushed.server.ws_url
    owner, listener, stranger = [
        bearer(await make_key(pushed.server, *scopes))
        for scopes in (
            ["sessions:read", "sessions:write", "events:read"],
            ["events:read"],
            ["sessions:read", "events:read"],
        )
    ]
    session = Session.model_validate(
        (await http.post("/v1/sessions", json={"source": {"push": True}}, headers=owner)).json()
    )
    await pushed.reaches(session, lambda record: record.state == "starting")
    for headers, status in (({}, 401), (listener, 403), (stranger, 404)):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{base}{session.links.live}", additional_headers=headers)
        assert refused.value.response.status_code == status
    ticket = (await http.post("/v1/tickets", headers=owner)).json()["ticket"]
    async with connect(f"{base}{session.links.live}?video=false&ticket={ticket}"):
        pass
    # A ticket of a key without the scope opens nothing either, and none opens what is no stream.
    ticket = (await http.post("/v1/tickets", headers=listener)).json()["ticket"]
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{base}{session.links.live}?ticket={ticket}")
    assert refused.value.response.status_code == 403
    ticket = (await http.post("/v1/tickets", headers=owner)).json()["ticket"]
    answer = await http.get(f"{session.links.self}?ticket={ticket}", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 403


async def test_sessions_that_are_not_live_have_no_live_video(pushed: Pushing, stream: bytes) -> None:
    answer = await pushed.server.http.post("/v1/sessions", files={"file": stream})
    session = Session.model_validate(answer.json())
    assert session.links.live is None
    await pushed.ends(session)
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{pushed.server.ws_url}{session.links.self}/live")
    assert refused.value.response.status_code == 409
    assert "links.video" in json.loads(refused.value.response.body)["detail"]


async def test_a_session_whose_worker_cannot_be_reached_is_watched_later(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        session = await server.running_session()
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{server.ws_url}{session.links.live}")
    assert refused.value.response.status_code == 503
    assert "Retry" in json.loads(refused.value.response.body)["detail"]
