"""The OpenAPI description and the page that shows it."""

import json
import re
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import pytest_asyncio

from service.requests import SessionRequest
from tests.support.running_server import Running, running_server


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_upload_bytes=4_000_000) as running:
        yield running


async def test_the_documentation_loads_without_internet_access(server: Running) -> None:
    page = (await server.http.get("/docs")).text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) >= 4
    for address in addresses:
        assert (await server.http.get(f"/{address}")).status_code == 200
    assert "http://" not in page
    assert "https://" not in page


async def test_the_openapi_description_is_complete(server: Running) -> None:
    document = (await server.http.get("/openapi.json")).json()
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert {path for _, path in operations} == {
        "/v1/sessions",
        "/v1/uploads",
        "/v1/sessions/{session_id}",
        "/v1/sessions/{session_id}/stream",
        "/v1/sessions/{session_id}/events",
        "/v1/sessions/{session_id}/scores",
        "/v1/sessions/{session_id}/events/{event_id}/clip.mp4",
        "/v1/sessions/{session_id}/events/{event_id}/still.jpg",
        "/v1/sessions/{session_id}/export",
        "/v1/sessions/{session_id}/rules:try",
        "/v1/sessions/{session_id}/retry",
        "/v1/sessions/{session_id}/feedback",
        "/v1/sessions/{session_id}/feedback/{feedback_id}",
        "/v1/sessions/{session_id}/feedback/{feedback_id}/clip.mp4",
        "/v1/sessions/{session_id}/events/{event_id}/feedback",
        "/v1/events",
        "/v1/sessions/{session_id}/snapshot.jpg",
        "/v1/sessions/{session_id}/video",
        "/v1/sessions/{session_id}/video/tickets",
        "/v1/sessions/{session_id}/webhook",
        "/v1/sessions/{session_id}/webhook/redeliver",
        "/v1/sessions/{session_id}/webhook/rotate-secret",
        "/v1/subscriptions",
        "/v1/subscriptions/{subscription_id}",
        "/v1/subscriptions/{subscription_id}/pause",
        "/v1/subscriptions/{subscription_id}/resume",
        "/v1/subscriptions/{subscription_id}/test",
        "/v1/subscriptions/{subscription_id}/rotate-secret",
        "/v1/tickets",
        "/v1/storage",
        "/v1/identity",
        "/v1/keys",
        "/v1/keys/{key_id}",
        "/v1/capabilities",
        "/v1/cameras:discover",
        "/v1/models",
        "/v1/models/{name}",
        "/v1/models/{name}/shadow",
        "/v1/models/{name}/promote",
        "/livez",
        "/readyz",
        "/readyz/store",
        "/metrics",
        "/metrics/sessions",
    }
    for operation in operations.values():
        assert operation["summary"]
        for status, response in operation["responses"].items():
            assert response["description"]
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"]
            elif status != "204":
                assert response["content"]
    assert "HTTPValidationError" not in json.dumps(document)
    used = set(re.findall(r"#/components/schemas/([\w-]+)", json.dumps(document)))
    assert used <= set(document["components"]["schemas"])
    post = operations["post", "/v1/sessions"]
    assert {"202", "409", "413", "415", "422", "503", "507"} <= set(post["responses"])
    assert set(post["requestBody"]["content"]) == {"application/json"}
    upload_content = operations["post", "/v1/uploads"]["requestBody"]["content"]
    assert set(upload_content) == {"multipart/form-data"}
    SessionRequest.model_validate(post["requestBody"]["content"]["application/json"]["example"])


async def test_the_openapi_description_describes_every_property_and_parameter(server: Running) -> None:
    document = (await server.http.get("/openapi.json")).json()
    assert document["info"]["version"] == version("cake-served")
    bare = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, described in schema.get("properties", {}).items()
        if "description" not in described and "$ref" not in described
    ]
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    for operation in operations:
        assert re.fullmatch("[a-z]+(_[a-z]+)*", operation["operationId"])
        assert "_v1_" not in operation["operationId"]
        bare += [
            f"{operation['operationId']}({parameter['name']})"
            for parameter in operation.get("parameters", [])
            if "description" not in parameter
        ]
    assert bare == []
    events = document["paths"]["/v1/sessions/{session_id}/events"]["get"]
    assert "ticket" in {parameter["name"] for parameter in events["parameters"]}
