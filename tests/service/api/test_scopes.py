"""The scope that each route requires, in practice and in the OpenAPI description."""

import re

from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.running_server import Running

ROUTES = {
    ("GET", "/v1/sessions"): "sessions:read",
    ("GET", "/v1/sessions/x"): "sessions:read",
    ("GET", "/v1/sessions/x/scores"): "sessions:read",
    ("GET", "/v1/sessions/x/snapshot.jpg"): "sessions:read",
    ("GET", "/v1/sessions/x/video"): "sessions:read",
    ("POST", "/v1/sessions/x/video/tickets"): "sessions:read",
    ("GET", "/v1/capabilities"): "sessions:read",
    ("GET", "/v1/storage"): "sessions:read",
    ("POST", "/v1/cameras:discover"): "admin",
    ("GET", "/v1/models"): "sessions:read",
    ("GET", "/v1/models/n"): "sessions:read",
    ("PUT", "/v1/models/n"): "admin",
    ("DELETE", "/v1/models/n"): "admin",
    ("GET", "/v1/models/n/shadow"): "sessions:read",
    ("DELETE", "/v1/models/n/shadow"): "admin",
    ("POST", "/v1/models/n/promote"): "admin",
    ("GET", "/v1/sessions/x/webhook"): "sessions:read",
    ("POST", "/v1/sessions/x/webhook/redeliver"): "sessions:write",
    ("POST", "/v1/sessions/x/webhook/rotate-secret"): "sessions:write",
    ("POST", "/v1/sessions"): "sessions:write",
    ("POST", "/v1/uploads"): "sessions:write",
    ("DELETE", "/v1/sessions/x"): "sessions:write",
    ("POST", "/v1/sessions/x/rules:try"): "sessions:read",
    ("POST", "/v1/sessions/x/retry"): "sessions:write",
    ("GET", "/v1/sessions/x/events/0-0/clip.mp4"): "sessions:read",
    ("GET", "/v1/sessions/x/events/0-0/still.jpg"): "sessions:read",
    ("PATCH", "/v1/sessions/x"): "sessions:write",
    ("PUT", "/v1/sessions/x/stream"): "sessions:write",
    ("POST", "/v1/sessions/x/stream"): "sessions:write",
    ("GET", "/v1/sessions/x/events"): "events:read",
    ("GET", "/v1/sessions/x/export"): "events:read",
    ("GET", "/v1/events"): "events:read",
    ("POST", "/v1/tickets"): "events:read",
    ("GET", "/v1/sessions/x/feedback"): "sessions:read",
    ("POST", "/v1/sessions/x/feedback"): "sessions:write",
    ("DELETE", "/v1/sessions/x/feedback/z"): "sessions:write",
    ("GET", "/v1/sessions/x/feedback/z/clip.mp4"): "sessions:read",
    ("PUT", "/v1/sessions/x/events/0-0/feedback"): "sessions:write",
    ("DELETE", "/v1/sessions/x/events/0-0/feedback"): "sessions:write",
    ("GET", "/v1/subscriptions"): "events:read",
    ("POST", "/v1/subscriptions"): "events:read sessions:write",
    ("GET", "/v1/subscriptions/y"): "events:read",
    ("DELETE", "/v1/subscriptions/y"): "events:read sessions:write",
    ("POST", "/v1/subscriptions/y/pause"): "events:read sessions:write",
    ("POST", "/v1/subscriptions/y/resume"): "events:read sessions:write",
    ("POST", "/v1/subscriptions/y/test"): "events:read sessions:write",
    ("POST", "/v1/subscriptions/y/rotate-secret"): "events:read sessions:write",
    ("GET", "/v1/keys"): "admin",
    ("POST", "/v1/keys"): "admin",
    ("PATCH", "/v1/keys/0123456789abcdef"): "admin",
    ("DELETE", "/v1/keys/0123456789abcdef"): "admin",
    ("GET", "/metrics"): "metrics:read",
    ("GET", "/metrics/sessions"): "metrics:sessions",
}
PARAMETERS = {
    "/x": "/{session_id}",
    "/0-0": "/{event_id}",
    "/y": "/{subscription_id}",
    "/z": "/{feedback_id}",
    "/n": "/{name}",
    "/0123456789abcdef": "/{key_id}",
}
SCOPES = ("sessions:read", "sessions:write", "events:read", "metrics:read", "metrics:sessions", "admin")


def with_parameters(path: str) -> str:
    """The path as the description has it."""
    return re.sub(r"/(x|0-0|y|z|n|0123456789abcdef)(?=/|$)", lambda found: PARAMETERS[found[0]], path)


async def test_each_route_requires_its_scope_and_admin_includes_all(server: Running) -> None:
    for scope in SCOPES:
        key = await make_key(server, scope)
        for (method, path), needed in ROUTES.items():
            answer = await server.http.request(method, path, headers=bearer(key))
            missing = set() if scope == "admin" else set(needed.split()) - {scope}
            if missing:
                detail = problem(answer, 403, "missing_scope").detail
                assert any(one in detail for one in missing), (scope, path)
            else:
                assert answer.status_code not in (401, 403), (scope, path)


async def test_the_description_names_the_key_and_the_scope_of_every_route(server: Running) -> None:
    document = (await server.http.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    described = {
        (method.upper(), path): " ".join(operation["security"][0]["ApiKey"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "security" in operation
    }
    assert described == {(method, with_parameters(path)): scopes for (method, path), scopes in ROUTES.items()}
    for method, path in described:
        assert {"401", "403", "429"} <= set(document["paths"][path][method.lower()]["responses"])
