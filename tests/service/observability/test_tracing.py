"""One trace leads from the request that made a session to each of its events and on to those who follow."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.deployment import deployment
from tests.support.running_server import child_server, running_server
from tests.support.trace_collector import Collector, trace_collector

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID, CALLER_SPAN_ID = (bytes.fromhex(part) for part in CALLER.split("-")[1:3])


async def collected(collector: Collector, name: str, count: int) -> list[tuple[str, Span]]:
    async with asyncio.timeout(120):
        while len(found := collector.named(name)) < count:  # noqa: ASYNC110 - spans come when they come
            await asyncio.sleep(0.05)
    return found


@pytest.mark.slow
async def test_an_event_is_followed_from_its_frame_to_the_clients(tmp_path: Path, model: Path, video: Path) -> None:
    with trace_collector() as collector:
        traced = {"TRACES": "true"}
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        async with deployment(tmp_path, model, servers=1, workers=1, settings=traced, environ=environ) as deployed:
            async with httpx.AsyncClient(base_url=deployed.servers[0].url, timeout=120) as http:
                content = await asyncio.to_thread(video.read_bytes)
                options = json.dumps({"pace": "realtime"})
                files = {"file": content, "session": (None, options, "application/json")}
                answer = await http.post("/v1/sessions", files=files, headers={"traceparent": CALLER})  # type: ignore[arg-type]
            events = [event async for event in deployed.follow(answer.json()["id"])]
            starts = [event for event in events if event.type.startswith("action.")]
            requests = await collected(collector, "POST /v1/sessions", 1)
            published = await collected(collector, "event", len(starts))
            delivered = await collected(collector, "deliver", len(starts))
            parts = {name: await collected(collector, name, len(starts)) for name in ("queue", "infer", "commit")}
    ((service, request),) = requests
    assert service == "cake-server"
    assert (request.trace_id, request.parent_span_id) == (TRACE_ID, CALLER_SPAN_ID)
    assert answer.headers["traceparent"] == f"00-{TRACE_ID.hex()}-{request.span_id.hex()}-01"
    spans = {f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01": span for _, span in published}
    assert spans.keys() == {event.traceparent for event in starts}
    for worker, span in published:
        assert worker == "cake-worker"
        assert (span.trace_id, span.parent_span_id) == (TRACE_ID, request.span_id)
        for name in parts:
            ((_, part),) = [found for found in parts[name] if found[1].parent_span_id == span.span_id]
            assert span.start_time_unix_nano <= part.start_time_unix_nano <= part.end_time_unix_nano
            assert part.end_time_unix_nano <= span.end_time_unix_nano
    assert {span.parent_span_id for _, span in delivered} == {span.span_id for _, span in published}
    assert {service for service, _ in delivered} == {"cake-server"}


async def test_without_traces_nothing_is_traced(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        answer = await server.http.get("/v1/sessions", headers={"traceparent": CALLER})
        assert "traceparent" not in answer.headers
        session = await server.running_session()
        (event, *_) = (await server.http.get(session.links.events)).json()["events"]
        assert event["traceparent"] is None


INVALID_TRACEPARENTS = ("", "00-0-0-01", "garbage", f"ff-{'0' * 32}-{'0' * 16}-01", "00-" + "a" * 5000)


async def test_an_invalid_traceparent_is_ignored(tmp_path: Path) -> None:
    with trace_collector() as collector:
        environ = {
            "CAKE_TRACES": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        async with (
            child_server(tmp_path, environ=environ) as server,
            httpx.AsyncClient(base_url=server.url, timeout=120) as http,
        ):
            answers = [
                await http.get("/v1/sessions?ticket=secret", headers={"traceparent": sent})
                for sent in INVALID_TRACEPARENTS
            ]
            # The route takes no ticket. The spans of the rejected requests must not contain it either.
            assert {answer.status_code for answer in answers} == {422}
            spans = [span for _, span in await collected(collector, "GET /v1/sessions", len(answers))]
    assert {answer.headers["traceparent"].split("-")[1] for answer in answers} == {
        span.trace_id.hex() for span in spans
    }
    assert len({span.trace_id for span in spans}) == len(INVALID_TRACEPARENTS)
    assert {span.parent_span_id for span in spans} == {b""}
    assert "secret" not in str(spans)
