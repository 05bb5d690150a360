"""A day in seconds: cameras, servers, workers, a broker and receivers; some die and return, and no event is lost.

Three RTSP cameras go to two servers and two workers around a real Redis. Five subscriptions of different kinds deliver
to real receivers.
"""

import asyncio
import json
import re
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.event_schemas import ActionEndEvent, ActionStartEvent
from service.store import open_store
from service.store.protocols import Store
from tests.support.deployment import deployment
from tests.support.mosquitto import mosquitto, subscriber
from tests.support.rtsp_server import rtsp_server
from tests.support.running_server import free_port, until
from tests.support.video_server import serve_handler

pytestmark = pytest.mark.slow

QUICK = """
from service.store.redis import outbox, subscriptions
from service.subscriptions.deliverer import BACKOFFS
from service.webhooks.retry import Backoff
outbox.TAKE_OVER_AFTER_S = subscriptions.TAKE_OVER_AFTER_S = 2.0
for kind in BACKOFFS:
    BACKOFFS[kind] = Backoff(first_s=0.2, longest_s=0.5)
"""
Action = ActionStartEvent | ActionEndEvent
Place = tuple[str, str]
"""The ids of a session and of an event."""
ACTIONS = ["action.start", "action.end"]
CAMERAS = ("north", "south", "east")
WANTED: dict[str, tuple[dict[str, Any], Callable[[Action], bool]]] = {
    "standard": ({}, lambda event: True),
    "cloudevents": ({"label": ["kick"]}, lambda event: event.label == "kick"),
    "cloudevents-binary": (
        {"name": ["north", "east"], "min_score": 0.7},
        lambda event: event.name in ("north", "east") and event.score >= 0.7,
    ),
    "mqtt": ({"label": ["punch"]}, lambda event: event.label == "punch"),
    "apprise": ({"type": ["action.start"], "name": ["south"]}, lambda event: is_start_of(event, "south")),
}
"""By the kind of subscription: the filter, and whether it selects an event."""


def is_start_of(event: Action, camera: str) -> bool:
    return event.type == "action.start" and event.name == camera


class MortalReceiver:
    """Takes HTTP requests on one port, while it lives."""

    def __init__(self) -> None:
        self.port = free_port()
        self.bodies: list[Any] = []
        self._life = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def live(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Keep the tests' output clean."""

        self._life.enter_context(serve_handler(Handler, self.port))

    async def die(self) -> None:
        await self._life.aclose()


def places_of(kind: str, bodies: Sequence[Any]) -> list[Place]:
    """What came, in order, with repetitions."""
    if kind == "apprise":
        found = (re.search(r"Session (\S+), event (\S+)", body["message"]) for body in bodies)
        return [(match[1], match[2]) for match in found if match is not None]
    events = [body["data"] if kind == "cloudevents" else body for body in bodies]
    return [(event["session_id"], event["id"]) for event in events]


async def actions_of(store: Store) -> list[Action]:
    """All actions of all sessions, in the order of their commits."""
    actions: list[Action] = []
    cursor = "0"
    while (page := await store.log.read(after=cursor)).entries:
        actions += [each.event for each in page.entries if each.event.type in ("action.start", "action.end")]
        cursor = page.cursor
    return actions


async def actions_of_all_cameras_follow(store: Store) -> None:
    """When each camera has published further actions, and each filter has selected some."""
    seen = len(await actions_of(store))
    while True:
        actions = await actions_of(store)
        are_selected = all(sum(map(selects, actions)) >= 5 for _, selects in WANTED.values())
        if are_selected and {event.name for event in actions[seen:]} == set(CAMERAS):
            return
        await store.log.wait(await store.log.end(), timeout_s=0.2)


async def test_every_target_receives_every_event_of_its_filter_in_order(tmp_path: Path, model: Path) -> None:
    receivers = {kind: MortalReceiver() for kind in WANTED if kind != "mqtt"}
    async with AsyncExitStack() as stack:
        cameras = {name: stack.enter_context(rtsp_server()) for name in CAMERAS}
        broker = stack.enter_context(mosquitto(tmp_path / "broker"))
        published = await stack.enter_async_context(subscriber(broker, "cake/+/+/event"))
        for receiver in receivers.values():
            receiver.live()
            stack.push_async_callback(receiver.die)
        place = await stack.enter_async_context(deployment(tmp_path / "day", model, workers=2, prelude=QUICK))
        store = open_store(place.redis.url)
        stack.push_async_callback(store.close)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=place.servers[1].url, timeout=120))

        for kind, (wanted, _) in WANTED.items():
            body = {"target": target_of(kind, receivers, broker.url), "filter": {"type": ACTIONS, **wanted}}
            answer = await client.post("/v1/subscriptions", json=body)
            assert answer.status_code == 201, answer.text
        for number, (name, camera) in enumerate(cameras.items()):
            url = f"{place.servers[number % 2].url}/v1/sessions"
            answer = await client.post(url, json={"source": {"url": camera.url("lively")}, "name": name})
            assert answer.status_code == 202, answer.text

        async with asyncio.timeout(1800):
            await until(lambda: len(receivers["standard"].bodies) >= 5)
            place.workers[0].kill()
            broker.stop()
            cameras["east"].stop()
            for kind in ("standard", "apprise"):
                await receivers[kind].die()
            place.servers[0].process.send_signal(signal.SIGKILL)
            seen = len(await actions_of(store))
            while len(await actions_of(store)) < seen + 10:
                await store.log.wait(await store.log.end(), timeout_s=0.2)
            broker.start()
            cameras["east"].start()
            for kind in ("standard", "apprise"):
                receivers[kind].live()
            await receivers["cloudevents"].die()
            receivers["cloudevents"].live()
            await actions_of_all_cameras_follow(store)
            sessions = (await client.get("/v1/sessions")).json()["sessions"]
            for session in sessions:
                assert (await client.delete(f"/v1/sessions/{session['id']}")).is_success
            while {(await store.sessions.get(session["id"])).state for session in sessions} != {"stopped"}:
                await store.log.wait(await store.log.end(), timeout_s=0.2)

            actions = await actions_of(store)
            for kind, (_, selects) in WANTED.items():
                expected = [(event.session_id, event.id) for event in actions if selects(event)]

                def received(kind: str = kind) -> list[Place]:
                    if kind != "mqtt":
                        return places_of(kind, list(receivers[kind].bodies))
                    return places_of(kind, [json.loads(payload) for _, payload in published.messages])

                with suppress(TimeoutError):
                    async with asyncio.timeout(600):
                        await until(lambda: set(received()) >= set(expected))  # noqa: B023 - awaited in this round
                assert list(dict.fromkeys(received())) == expected, kind


def target_of(kind: str, receivers: dict[str, MortalReceiver], broker_url: str) -> dict[str, Any]:
    if kind == "mqtt":
        return {"kind": "mqtt", "url": broker_url}
    if kind == "apprise":
        return {"kind": "apprise", "url": receivers[kind].url.replace("http://", "json://"), "attach": False}
    return {"kind": "webhook", "url": receivers[kind].url, "format": kind}
