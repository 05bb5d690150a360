"""cake-client against real servers: submissions, pushes, clips, rules and subscriptions."""

import ast
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cake_client
from cake_client import (
    ApiError,
    AsyncClient,
    CakeError,
    Client,
    Rule,
    SessionOptions,
    SessionState,
    SourceOptions,
    SubscriptionOptions,
    UnreachableError,
    WebhookTarget,
    verify_webhook,
)
from service.access.scopes import Scope
from service.api.app import VERSION
from service.schemas import Rule as StoredRule
from service.store.records import ScoreRow, SessionUpdate
from service.webhooks.signature import new_webhook_secret, signed_headers
from tests.support.access_kit import make_key
from tests.support.api_kit import stored_uploads
from tests.support.client_kit import start_json
from tests.support.made_videos import write_video
from tests.support.push_kit import Pushing, in_chunks
from tests.support.running_server import SECRET_URL, running_server

JPEG = b"\xff\xd8"


async def test_a_file_arrives_whole_with_its_options_and_progress_is_reported(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096  # More than one chunk.
    file = tmp_path / 'a "clip".mp4'
    await asyncio.to_thread(file.write_bytes, content)
    options = SessionOptions(
        labels=["kick"], pace="realtime", name="door", metadata={"site": "north"}, more={"model": "mocap"}
    )
    async with running_server(tmp_path / "data") as server:
        for_sync: list[tuple[int, int]] = []
        with Client(server.url) as client:
            session = await asyncio.to_thread(
                client.submit_file, file, options, SourceOptions(stream=0), on_progress=lambda *at: for_sync.append(at)
            )
        for_async: list[tuple[int, int]] = []
        async with AsyncClient(server.url) as client_:
            await client_.submit_file(file, options, on_progress=lambda *at: for_async.append(at))
        assert stored_uploads(server) == [content] * 2
    assert (session.labels, session.pace, session.name, session.model) == (("kick",), "realtime", "door", "mocap")
    assert session.metadata == {"site": "north"}
    assert session.source.filename == "a %22clip%22.mp4"
    for reported in (for_sync, for_async):
        assert reported[-1] == (len(content),) * 2
        assert reported == sorted(set(reported))


async def test_sessions_are_listed_page_by_page_stopped_and_deleted(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server, AsyncClient(server.url) as client:
        submitted = [
            await client.submit_url(SECRET_URL, SessionOptions(name=str(number), metadata={"floor": str(number)}))
            for number in range(5)
        ]
        listed = [session.name async for session in client.sessions(page_size=2)]
        assert listed == ["4", "3", "2", "1", "0"]
        chosen = client.sessions(names=["1", "2", "4"], metadata={"floor": ["1", "2"]}, page_size=1)
        assert [session.name async for session in chosen] == ["2", "1"]
        stopped = await client.stop(submitted[0].id)
        assert stopped is not None
        assert stopped.has_ended
        assert await client.stop(submitted[0].id) is None
        with pytest.raises(ApiError, match="not_found") as error:
            await client.session(submitted[0].id)
        assert error.value.status == 404


async def test_subscriptions_are_managed_by_both_clients_in_the_same_way(tmp_path: Path) -> None:
    target, options = WebhookTarget("http://127.0.0.1:9/", format="cloudevents"), SubscriptionOptions(labels=["kick"])
    async with running_server(tmp_path / "data") as server, AsyncClient(server.url) as client:
        mine = await client.subscribe(target, options)
        assert mine.target.secret is not None
        assert (await client.pause_subscription(mine.id)).state == "paused"
        assert not (await client.test_subscription(mine.id)).delivered
        with Client(server.url) as other:
            [found] = await asyncio.to_thread(other.subscriptions)
            assert (found.id, found.state, found.target.secret) == (mine.id, "paused", None)
            assert (await asyncio.to_thread(other.resume_subscription, mine.id)).state == "active"
            rotated = await asyncio.to_thread(other.rotate_subscription_secret, mine.id)
            assert rotated.target.secret not in (None, mine.target.secret)
            await asyncio.to_thread(other.delete_subscription, mine.id)
        assert await client.subscriptions() == ()


async def test_a_clip_and_a_still_of_an_action_are_received_by_both_clients(tmp_path: Path) -> None:
    video = await asyncio.to_thread(write_video, tmp_path / "v.mp4")
    async with running_server(tmp_path / "data") as server, AsyncClient(server.url) as client:
        session = await client.submit_file(video)
        await server.worker.claim()
        [start] = await server.worker.starts(session.id, [1.0])
        still, clip = await client.still(session.id, start.id), await client.clip(session.id, start.id)
        assert still.startswith(JPEG)
        assert (clip.from_s, clip.data[4:8]) == (0.0, b"ftyp")
        with Client(server.url) as other:
            assert await asyncio.to_thread(other.still, session.id, start.id) == still
            assert await asyncio.to_thread(other.clip, session.id, start.id) == clip


async def test_rules_are_tried_and_set_by_both_clients(tmp_path: Path) -> None:
    rules = {"kick": Rule(enter=0.7, leave=0.3, refractory_s=0.5)}
    async with running_server(tmp_path / "data") as server, AsyncClient(server.url) as client:
        session = await server.running_session()
        [start] = await server.worker.starts(session.id, [0.1])
        kicks = [0.0, 0.6, *([0.0] * 8), 0.9, 0.0]
        rows = [ScoreRow(frame / 10, (score, 0.0, 0.0)) for frame, score in enumerate(kicks)]
        update = SessionUpdate(start_rules={"kick": StoredRule(enter=0.5, leave=0.3)}, position_s=rows[-1].pts_s)
        token = server.worker.records[session.id].token
        await server.worker.store.log.commit(session.id, token, scores=rows, update=update)
        tried = await client.try_rules(session.id, rules)
        assert ([each.start_s for each in tried.added], [each.id for each in tried.removed]) == ([1.0], [start.id])
        assert [(miss.peak_s, miss.reason) for miss in tried.near_misses] == [(0.1, "below_enter")]
        with Client(server.url) as other:
            assert (await asyncio.to_thread(other.try_rules, session.id, rules, until_s=0.5)).added == ()
            assert (await asyncio.to_thread(other.set_rules, session.id, rules)).rules == rules
        assert (await client.set_rules(session.id, {})).rules == {}


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_a_pushed_stream_is_analysed_to_its_end(pushed: Pushing, stream: bytes, *, asynchronous: bool) -> None:
    if asynchronous:
        async with AsyncClient(pushed.server.url) as client:
            session = await client.submit_push()
            await client.push(session.id, in_chunks(stream))
            states = [event.state async for event in client.follow(session.id) if isinstance(event, SessionState)]
    else:

        def push(url: str) -> list[str]:
            with Client(url) as client:
                session = client.submit_push()
                client.push(session.id, [stream])
                return [event.state for event in client.follow(session.id) if isinstance(event, SessionState)]

        states = await asyncio.to_thread(push, pushed.server.url)
    assert states[-1] == "completed"


async def test_a_push_to_an_ended_session_says_so(pushed: Pushing, stream: bytes) -> None:
    session = await pushed.submit()
    async with AsyncClient(pushed.server.url) as client:
        await client.stop(session.id)
        await pushed.ends(session)
        with pytest.raises(ApiError, match="push_ended"):
            await client.push(session.id, in_chunks(stream))


async def test_errors_state_code_and_remedy(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        key = await make_key(server, Scope.SESSIONS_WRITE)
        async with AsyncClient(server.url, key) as client:
            with pytest.raises(ApiError) as refused:
                await client.submit_url(SECRET_URL, SessionOptions(model="walk"))
            assert (refused.value.code, refused.value.problem.more["known"]) == ("unknown_model", ["mocap"])
        async with AsyncClient(server.url, "wrong") as client:
            with pytest.raises(ApiError, match="unauthorized: The API key is unknown"):
                await client.session("s")
    async with AsyncClient(server.url, retry_for_s=0) as client:
        with pytest.raises(UnreachableError, match="Check the address"):
            await client.session("s")
    with pytest.raises(ValueError, match="give one like"):
        Client("127.0.0.1:8000")


def test_webhook_deliveries_are_verified_with_the_old_and_the_new_secret() -> None:
    old, new = new_webhook_secret(), new_webhook_secret()
    body = start_json(1).encode()
    now_s = int(time.time())
    headers = {name.title(): value for name, value in signed_headers([old], "s_1000-0", now_s, body).items()}
    assert verify_webhook([new, old], headers, body).id == "1000-0"
    damaged: list[Callable[[], dict[str, str]]] = [
        dict,
        lambda: {**headers, "Webhook-Signature": "v1"},
        lambda: {**headers, "Webhook-Signature": "v1,é"},
        lambda: dict(signed_headers([old], "s_1000-0", now_s - 301, body)),
    ]
    for make in damaged:
        with pytest.raises(CakeError, match="invalid_webhook"):
            verify_webhook(old, make(), body)
    with pytest.raises(CakeError, match="invalid_webhook"):
        verify_webhook(old, headers, body + b" ")


def test_the_client_imports_nothing_of_the_server_and_has_its_version() -> None:
    assert cake_client.VERSION == VERSION
    allowed = {"cake_client", "httpx", "websockets", "pydantic", "standardwebhooks"}
    for path in Path(cake_client.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[Any] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            roots = {name.partition(".")[0] for name in names}
            assert roots <= allowed | set(sys.stdlib_module_names), path
