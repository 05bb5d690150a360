"""Bounds on the size, duration and content of request bodies."""

import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st

from service.access.keys import Limits
from service.api.app import ROUTES
from service.api.request_body import BODY_TIMEOUT_S, MIN_BYTES_PER_S, RateFloor
from service.schemas import BodySchema
from tests.support.api_kit import problem
from tests.support.running_server import Running, running_server


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_upload_bytes=1_000_000, max_streams=3) as running:
        yield running


async def test_a_gzip_body_is_decompressed_within_the_limits(server: Running) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}

    async def post(body: bytes, **changed: str) -> httpx.Response:
        return await server.http.post("/v1/sessions", content=body, headers={**headers, **changed})

    body = json.dumps({"source": {"push": True}, "name": "n" * 150}).encode()
    assert (await post(gzip.compress(body))).status_code == 202
    assert (await post(gzip.compress(body[:50]) + gzip.compress(body[50:]))).status_code == 202, "several members"
    problem(await post(gzip.compress(body)[:-9]), 422, "invalid_request")
    problem(await post(body), 422, "invalid_request")
    problem(await post(gzip.compress(b" " * 10_000_000)), 413, "too_large")
    refused = problem(await post(body, **{"Content-Encoding": "br"}), 415, "unsupported_media_type")
    assert "br" in refused.detail
    request = server.http.build_request("POST", "/v1/sessions", files={"file": ("v.mp4", b"video" * 100)})
    multipart = {"Content-Type": request.headers["content-type"]}
    assert (await post(gzip.compress(await request.aread()), **multipart)).status_code == 202
    problem(await post(gzip.compress(await request.aread() + bytes(50_000_000)), **multipart), 413, "too_large")


async def test_every_body_is_bounded_decompressed_and_may_begin_with_a_byte_order_mark(server: Running) -> None:
    session = await server.submit(webhook={"url": "http://127.0.0.1:9/"})
    path = session.links.self
    bodies = {
        ("PATCH", path): {"name": "n"},
        ("POST", f"{path}/rules:try"): {"rules": {}},
        ("POST", f"{path}/webhook/redeliver"): {"after": None},
        ("POST", f"{path}/webhook/rotate-secret"): {"keep_old_s": 5},
    }
    compressed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    for (method, route), body in bodies.items():
        content = b"\xef\xbb\xbf" + json.dumps(body).encode()
        answer = await server.http.request(method, route, content=gzip.compress(content), headers=compressed)
        assert answer.is_success, answer.text
        large = gzip.compress(b" " * 10_000_000 + content)
        refused = await server.http.request(method, route, content=large, headers=compressed)
        problem(refused, 413, "too_large")
        refused = await server.http.request(
            method, route, content=content, headers={**compressed, "Content-Encoding": "br"}
        )
        problem(refused, 415, "unsupported_media_type")
        assert refused.headers["accept-encoding"] == "gzip"


async def test_no_operation_reads_a_json_body_without_bounds(server: Running) -> None:
    paths = (await server.http.get("/openapi.json")).json()["paths"]
    operations = [
        (method, re.sub(r"{[^}]*}", "x", path))
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]
    assert ("patch", "/v1/sessions/x") in operations
    for method, path in operations:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        answer = await server.http.request(method, path, content=gzip.compress(b" " * 10_000_000), headers=headers)
        # `not_ready` comes before the body is read.
        assert answer.status_code in (413, 503), (method, path, answer.text)


@pytest.mark.parametrize("number", ["1e999", "Infinity", "-Infinity", "NaN"])
async def test_a_number_that_is_not_finite_is_rejected(server: Running, number: str) -> None:
    body = f'{{"source": {{"push": true, "max_down_s": {number}}}}}'
    headers = {"Content-Type": "application/json"}
    problem(await server.http.post("/v1/sessions", content=body, headers=headers), 422, "invalid_request")
    assert (await server.http.get("/v1/sessions")).json()["sessions"] == []
    session = await server.submit()
    for path, name in ((session.links.events, "wait_s"), (session.links.scores, "after_s")):
        problem(await server.http.get(path, params={name: number}), 422, "invalid_request")
    with pytest.raises(ValueError, match="finite"):
        Limits(max_sessions=1, requests_per_s=float(number), max_stored_bytes=1)


@given(st.lists(st.tuples(st.integers(0, 200_000), st.floats(0.001, BODY_TIMEOUT_S)), max_size=50))
def test_a_body_is_slow_when_a_window_brings_less_than_the_minimum(chunks: list[tuple[int, float]]) -> None:
    rate, window_bytes, window_s = RateFloor(), 0, 0.0
    for chunk_bytes, waited_s in chunks:
        window_bytes, window_s = window_bytes + chunk_bytes, window_s + waited_s
        is_full = window_s >= BODY_TIMEOUT_S
        assert rate.is_met(chunk_bytes, waited_s) == (not is_full or window_bytes >= MIN_BYTES_PER_S * window_s)
        if is_full:
            window_bytes, window_s = 0, 0.0


def test_the_types_of_all_bodies_are_built_at_start() -> None:
    routes = [route for module in ROUTES for route in module.router.routes if isinstance(route, APIRoute)]
    bodies = [route.body_field.field_info.annotation for route in routes if route.body_field is not None]
    assert bodies
    assert all(isinstance(body, type) and issubclass(body, BodySchema) for body in bodies), bodies
