"""Keys that are limited to sessions with certain metadata: on every route, a session beyond them does not exist."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.schemas import Session
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.running_server import SECRET_URL, Running, running_server
from tests.support.subscription_kit import until_received, until_state
from tests.support.webhook_receiver import receiving

NORTH, SOUTH = {"site": "north", "floor": "2"}, {"site": "south"}
SCOPES = ("sessions:read", "sessions:write", "events:read", "metrics:sessions")
BODIES: dict[str, dict[str, Any]] = {
    "/v1/sessions/{session_id}": {"name": "x"},
    "/v1/sessions/{session_id}/feedback": {"label": "kick", "start_s": 1.0},
    "/v1/sessions/{session_id}/events/{event_id}/feedback": {"verdict": "right"},
}
"""Bodies that requests need to be valid; the others need none."""
EXPORT = {"/v1/sessions/{session_id}/export": "?format=csv"}


@dataclass(frozen=True)
class Site:
    """A server with one running camera in the north and one in the south, both submitted by the operator."""

    server: Running
    operator: dict[str, str]
    guard: dict[str, str]
    """Limited to the north."""
    north: Session
    south: Session

    async def get(self, path: str) -> Any:
        return (await self.server.http.get(path, headers=self.guard)).raise_for_status().json()

    async def move(self, session: Session, metadata: dict[str, str]) -> None:
        answer = await self.server.http.patch(session.links.self, json={"metadata": metadata}, headers=self.operator)
        answer.raise_for_status()


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_server(tmp_path / "data", session_metrics=10) as server:
        operator = bearer(await make_key(server, "admin"))
        limit = {"site": ["north"], "floor": ["1", "2"]}
        asked = {"name": "guard", "scopes": SCOPES, "metadata": limit}
        made = (await server.http.post("/v1/keys", json=asked, headers=operator)).raise_for_status().json()
        assert made["metadata"] == {"floor": ["1", "2"], "site": ["north"]}
        sessions = []
        for metadata in (NORTH, SOUTH):
            body = {"source": {"url": SECRET_URL}, "metadata": metadata}
            answer = await server.http.post("/v1/sessions", json=body, headers=operator)
            sessions.append(Session.model_validate(answer.json()))
            await server.worker.claim()
            await server.worker.enter(sessions[-1].id, "running")
            await server.worker.starts(sessions[-1].id, [1.0])
        yield Site(server, operator, bearer(made["key"]), *sessions)


async def test_no_route_distinguishes_a_session_beyond_the_limit_from_one_that_does_not_exist(site: Site) -> None:
    document = (await site.server.http.get("/openapi.json")).json()
    paths = {path: methods for path, methods in document["paths"].items() if "{session_id}" in path}
    assert len(paths) > 15
    ids = {"event_id": "1000-0", "feedback_id": f"missed-{'0' * 32}"}
    differing: list[tuple[str, str, str]] = []
    for path, methods in paths.items():
        for method in methods:
            answers = []
            for session_id in (site.south.id, str(uuid.uuid4())):
                url = path.format(session_id=session_id, **ids) + EXPORT.get(path, "")
                body = BODIES.get(path, {})
                answers.append(await site.server.http.request(method, url, json=body, headers=site.guard))
            hidden, unknown = (answer.json() for answer in answers)
            if (unknown["code"], hidden["detail"]) != ("not_found", unknown["detail"]):
                differing.append((method, path, hidden["detail"]))
    assert differing == []
    assert (await site.server.http.get(site.south.links.self, headers=site.operator)).json()["state"] == "running"


async def test_no_websocket_distinguishes_a_session_beyond_the_limit_from_one_that_does_not_exist(site: Site) -> None:
    document = (await site.server.http.get("/asyncapi.json")).json()
    addresses = {channel["address"] for channel in document["channels"].values()}
    of_sessions = [address for address in addresses if address is not None and "{session_id}" in address]
    assert {address.rpartition("/")[2] for address in of_sessions} == {"events", "live", "stream"}
    for address in of_sessions:
        for session_id in (site.south.id, str(uuid.uuid4())):
            with pytest.raises(InvalidStatus) as refused:
                await connect(site.server.ws_url + address.format(session_id=session_id), additional_headers=site.guard)
            assert refused.value.response.status_code == 404, address


async def test_lists_streams_and_metrics_show_what_is_within_the_limit(site: Site) -> None:
    assert [session["id"] for session in (await site.get("/v1/sessions"))["sessions"]] == [site.north.id]
    assert [session["id"] for session in (await site.get("/v1/sessions?state=running"))["sessions"]] == [site.north.id]
    assert (await site.get("/v1/sessions?state=queued"))["sessions"] == []
    for query in ("", "?after=0"):
        entries = (await site.get(f"/v1/events{query}"))["entries"]
        assert {entry["event"]["session_id"] for entry in entries} == {site.north.id}
    assert len((await site.get(f"{site.north.links.self}/events"))["events"]) == 3
    metrics = (await site.server.http.get("/metrics/sessions", headers=site.guard)).text
    assert site.north.id in metrics
    assert site.south.id not in metrics


async def test_live_streams_follow_the_metadata_as_they_are_now(site: Site) -> None:
    async with connect(f"{site.server.ws_url}/v1/events?after=0", additional_headers=site.guard) as socket:

        async def next_entry() -> tuple[str, float]:
            event = json.loads(await asyncio.wait_for(socket.recv(), timeout=60))["event"]
            return event["session_id"], event["decided_s"]

        assert [(await next_entry())[0] for _ in range(3)] == [site.north.id] * 3
        rounds = (
            ((NORTH, SOUTH), [site.north]),
            ((SOUTH, NORTH), [site.south]),
            ((NORTH, NORTH), [site.north, site.south]),
        )
        for second, ((north, south), seen) in enumerate(rounds, start=2):
            await site.move(site.north, north)
            await site.move(site.south, south)
            # Visible sessions come last, so that the others have already been left out.
            for session in sorted((site.north, site.south), key=lambda one: one in seen):
                await site.server.worker.starts(session.id, [float(second)])
            assert [await next_entry() for _ in seen] == [(one.id, second) for one in seen]


async def test_the_stream_of_a_session_ends_when_it_leaves_the_limit(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.feed.fanout.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("service.api.reauthorization.RECHECK_EVERY_S", 0.05)
    options: dict[str, Any] = {"additional_headers": site.guard}
    async with connect(f"{site.server.ws_url}{site.north.links.events}", **options) as socket:
        await site.move(site.north, SOUTH)
        await asyncio.wait_for(socket.wait_closed(), timeout=60)
        assert socket.close_code == 1008


async def test_a_session_is_submitted_and_kept_within_the_limit(site: Site) -> None:
    http, body = site.server.http, {"source": {"url": SECRET_URL}}
    # One value alone is possible for `site`, but not for `floor`.
    refused = problem(await http.post("/v1/sessions", json=body, headers=site.guard), 422, "invalid_request")
    assert "floor" in refused.detail
    asked = {**body, "metadata": {"floor": "1", "door": "a"}}
    headers = {**site.guard, "Idempotency-Key": "k"}
    made = Session.model_validate((await http.post("/v1/sessions", json=asked, headers=headers)).json())
    assert made.metadata == {"site": "north", "floor": "1", "door": "a"}
    problem(await http.patch(made.links.self, json={"metadata": SOUTH}, headers=site.guard), 422, "invalid_request")
    changed = await http.patch(made.links.self, json={"metadata": {"floor": "2"}}, headers=site.guard)
    assert changed.json()["metadata"] == {"site": "north", "floor": "2"}
    assert (await http.patch(site.north.links.self, json={"name": "gate"}, headers=site.guard)).is_success
    await site.move(made, SOUTH)
    problem(await http.get(made.links.self, headers=site.guard), 404, "not_found")
    problem(await http.post("/v1/sessions", json=asked, headers=headers), 404, "not_found")


async def test_a_subscription_delivers_what_its_key_sees(site: Site) -> None:
    with receiving() as (url, received):
        asked = {"target": {"kind": "webhook", "url": url}, "after": "0", "filter": {"type": ["action.start"]}}
        answer = await site.server.http.post("/v1/subscriptions", json=asked, headers=site.guard)
        assert answer.json()["all_sessions"] is False
        await until_received(1, received.taken)
        for session in (site.south, site.north):
            await site.server.worker.starts(session.id, [2.0])
        await until_received(2, received.taken)
    assert [event["session_id"] for event in received.taken] == [site.north.id] * 2
    assert len((await site.get("/v1/subscriptions"))["subscriptions"]) == 1
    other = bearer(await make_key(site.server, *SCOPES))
    problem(await site.server.http.get(answer.headers["location"], headers=other), 404, "not_found")


async def test_a_changed_limit_disables_subscriptions_and_takes_effect_at_once(site: Site) -> None:
    http = site.server.http
    asked = {"target": {"kind": "webhook", "url": "http://127.0.0.1:9/hook"}}
    made = (await http.post("/v1/subscriptions", json=asked, headers=site.guard)).json()
    key_id = (await site.get("/v1/identity"))["id"]
    change = {"metadata": {"site": ["south"]}}
    assert (await http.patch(f"/v1/keys/{key_id}", json=change, headers=site.operator)).json()["metadata"] == {
        "site": ["south"]
    }
    assert [session["id"] for session in (await site.get("/v1/sessions"))["sessions"]] == [site.south.id]
    assert (await site.get("/v1/identity"))["metadata"] == {"site": ["south"]}
    http.headers.update(site.operator)
    await until_state(site.server, made["id"], "disabled")
    # Without a limit it sees its own sessions, and it has none.
    await http.patch(f"/v1/keys/{key_id}", json={"metadata": None})
    assert (await site.get("/v1/sessions"))["sessions"] == []


async def test_admin_cannot_be_limited(site: Site) -> None:
    http, limit = site.server.http, {"site": ["north"]}
    http.headers.update(site.operator)
    for asked in ({"scopes": ["admin"], "metadata": limit}, {"scopes": ["events:read"], "metadata": {}}):
        problem(await http.post("/v1/keys", json={"name": "x", **asked}), 422, "invalid_request")
    key_id = (await site.get("/v1/identity"))["id"]
    assert (
        "admin"
        in problem(await http.patch(f"/v1/keys/{key_id}", json={"scopes": ["admin"]}), 422, "invalid_request").detail
    )
