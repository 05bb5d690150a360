"""`/asyncapi.json` is a valid AsyncAPI 3 document that describes the events as clients receive them."""

import json
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft7Validator
from websockets.asyncio.client import connect

from tests.support.paths import ROOT
from tests.support.running_server import running_server
from tests.support.subscription_kit import subscribe, until_received
from tests.support.webhook_receiver import receiving

# From the npm package @asyncapi/specs 6.11.1, without line breaks; licence and notice are next to it.
SPECIFICATION = json.loads((ROOT / "tests/golden/asyncapi/3.0.0.json").read_text())


def targets(document: dict[str, Any]) -> list[str]:
    """All references in the document."""
    found: list[str] = []
    rest: list[Any] = [document]
    while rest:
        match rest.pop():
            case {"$ref": str(target)}:
                found.append(target)
            case dict() as mapping:
                rest += mapping.values()
            case list() as items:
                rest += items
    return found


def lookup(document: dict[str, Any], reference: str) -> Any:
    value: Any = document
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


async def test_the_document_is_valid_and_its_references_lead_somewhere(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", root_path="/cake") as server:
        document = (await server.http.get("/cake/asyncapi.json")).json()
    assert [error.message for error in Draft7Validator(SPECIFICATION).iter_errors(document)] == []
    for reference in targets(document):
        lookup(document, reference)
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {
        "/cake/v1/sessions/{session_id}/events",
        "/cake/v1/events",
        "/cake/v1/sessions/{session_id}/stream",
        "/cake/v1/sessions/{session_id}/live",
        "{stream}",
        "{topic}/status",
        "{topic}/test",
        "{topic}/{camera}/image",
        "{topic}/{camera}/reporting",
        "{topic}/{camera}/reporting/set",
        "{discovery_prefix}/device/{device}/config",
        "{topic}/{camera}/status",
        "{topic}/{camera}/event",
        "{topic}/{camera}/{label}/event",
        "{topic}/{camera}/{label}/state",
        None,
    }


async def test_streams_accept_the_filters_that_pages_accept(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        document = (await server.http.get("/asyncapi.json")).json()
        pages = (await server.http.get("/openapi.json")).json()["paths"]["/v1/events"]["get"]["parameters"]
    of_pages = {each["name"]: each["description"] for each in pages if each["in"] == "query"}
    for name in ("sessionEvents", "allEvents"):
        query = document["channels"][name]["bindings"]["ws"]["query"]["properties"]
        assert query.keys() == of_pages.keys() - {"before", "limit"}
        assert query["min_score"]["maximum"] == 1
        assert "action.start" in query["type"]["items"]["enum"]
        for parameter in query.keys() - {"after", "ticket"}:
            assert query[parameter]["description"] == of_pages[parameter]


async def test_received_messages_match_their_schemas(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        document = (await server.http.get("/asyncapi.json")).json()
        session = await server.running_session()
        await server.worker.starts(session.id, [1.0])
        messages: list[tuple[str, str]] = []
        async with connect(f"{server.ws_url}/v1/events?after=0") as socket:
            messages += [("LogEntry", str(await socket.recv())) for _ in range(3)]
        async with connect(f"{server.ws_url}/v1/sessions/{session.id}/events?after=0-1") as socket:
            messages.append(("ActionStartEvent", str(await socket.recv())))
        with receiving() as (url, receiver):
            await subscribe(server, {"kind": "webhook", "url": url, "format": "cloudevents"}, after="0")
            await until_received(1, receiver.taken)
            messages.append(("CloudEvent", json.dumps(receiver.taken[0])))
        with receiving() as (url, receiver):
            created = await subscribe(server, {"kind": "webhook", "url": url})
            await server.http.post(f"/v1/subscriptions/{created.id}/test")
            messages.append(("Trial", json.dumps(receiver.taken[0])))
    for name, text in messages:
        message = lookup(document, f"#/components/messages/{name}")
        schema = {**message["payload"], "components": document["components"]}
        assert [error.message for error in Draft7Validator(schema).iter_errors(json.loads(text))] == []
