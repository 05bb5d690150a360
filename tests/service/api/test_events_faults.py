"""Event clients that disconnect, read slowly or arrive in large numbers, and servers that stop or are killed."""

import asyncio
import json
import random
import signal
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from service.store import open_store
from tests.support.events_kit import all_ids, collect, followers_become, received, times_s
from tests.support.running_server import Running, Worker, child_server


@pytest.mark.parametrize("seed", range(4))
async def test_a_client_that_reconnects_at_random_gets_every_event_once(server: Running, seed: int) -> None:
    session = await server.running_session()
    dice = random.Random(seed)

    async def work() -> None:
        for n in range(40):
            await server.worker.starts(session.id, [n / 10, n / 10, n / 10 + 0.05])
            await asyncio.sleep(dice.random() * 0.02)
        await server.worker.enter(session.id, "completed")

    working = asyncio.create_task(work())
    ids: list[str] = []
    ended = False
    while not ended:
        url = server.ws_url + session.links.events + (f"?after={ids[-1]}" if ids else "")
        async with connect(url, close_timeout=0.2) as socket:
            for _ in range(dice.randrange(1, 30)):
                try:
                    event = json.loads(await socket.recv())
                except ConnectionClosed:
                    break
                ids.append(event["id"])
                ended = event.get("state") == "completed"
            if dice.random() < 0.5:
                socket.transport.abort()
    await working
    assert ids == await all_ids(server, session.id)


async def test_a_slow_client_is_disconnected_and_can_resume_without_delaying_others(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.feed.fanout.BUFFER", 50)
    monkeypatch.setattr("service.api.event_streams.SEND_TIMEOUT_S", 60)
    session = await server.running_session()
    url = server.ws_url + session.links.events
    async with connect(url, max_queue=1, ping_interval=None) as slow, connect(url) as quick:
        await received(slow, 2)
        await received(quick, 2)
        for _ in range(150):
            await server.worker.enter(session.id, "running", detail="x" * 100_000)
            # Never behind, however slow the machine is.
            await received(quick, 1)
        ids = ["0-0", "0-1"]
        await collect(slow, ids)
        assert slow.close_code == 1013
    assert len(ids) < 152
    async with connect(f"{url}?after={ids[-1]}") as resumed:
        ids += [event["id"] for event in await received(resumed, 152 - len(ids))]
    assert ids == await all_ids(server, session.id)
    assert 'cake_slow_clients_total{transport="websocket"} 1.0' in (await server.http.get("/metrics")).text


async def test_many_clients_get_every_event(server: Running) -> None:
    session = await server.running_session()
    url = server.ws_url + session.links.events
    sockets = [await connect(url) for _ in range(30)]

    async def listen(socket: ClientConnection) -> list[str]:
        return [json.loads(message)["id"] async for message in socket]

    listening = [asyncio.create_task(listen(socket)) for socket in sockets]
    for n in range(1, 21):
        await server.worker.starts(session.id, [n / 10])
    await server.worker.enter(session.id, "completed")
    expected = await all_ids(server, session.id)
    assert all(ids == expected for ids in await asyncio.gather(*listening))


@pytest.mark.slow
async def test_clients_that_vanish_do_not_disturb_others(server: Running) -> None:
    session = await server.running_session()
    url = server.ws_url + session.links.events
    sockets = [await connect(url, ping_interval=None) for _ in range(200)]
    listening = [asyncio.create_task(received(socket, 42)) for number, socket in enumerate(sockets) if number % 3]
    for number, socket in enumerate(sockets):
        if number % 5 == 0:
            await server.worker.starts(session.id, [number / 10 + 0.1])
        if number % 3 == 0:
            # Reset, without a goodbye.
            socket.transport.abort()
    expected = await all_ids(server, session.id)
    assert len(expected) == 42
    for events in await asyncio.gather(*listening):
        assert [event["id"] for event in events] == expected
    await followers_become(server, "websocket", len(listening))
    assert 'cake_slow_clients_total{transport="websocket"}' not in (await server.http.get("/metrics")).text
    await asyncio.gather(*(socket.close() for number, socket in enumerate(sockets) if number % 3))


@pytest.mark.slow
async def test_sigterm_stops_the_server_in_time_while_clients_are_connected(tmp_path: Path) -> None:
    async with child_server(tmp_path / "data") as child:
        store = open_store(f"sqlite://{tmp_path}/data/cake.db")
        await Worker(store).register()
        await store.close()
        async with httpx.AsyncClient(base_url=child.url, verify=False, timeout=120) as client:
            path = (await client.post("/v1/sessions", json={"source": {"url": "http://a/b"}})).json()["links"]["events"]
            url = child.url.replace("http", "ws", 1)
            sockets = [await connect(url + path), await connect(url + "/v1/events"), await connect(url + path)]
            async with client.stream("GET", path, headers={"Accept": "text/event-stream"}) as stream:
                await anext(stream.aiter_lines())
                child.process.send_signal(signal.SIGTERM)
                assert await child.process.wait() == 0
        for connected in sockets:
            await connected.wait_closed()
            assert connected.close_code == 1012
        assert "Traceback" not in child.log.read_text()


@pytest.mark.slow
async def test_a_client_resumes_after_the_server_was_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with child_server(data) as child:
        port = httpx.URL(child.url).port
        store = open_store(f"sqlite://{data}/cake.db")
        worker = Worker(store)
        await worker.register()
        async with httpx.AsyncClient(base_url=child.url, verify=False, timeout=120) as client:
            created = (await client.post("/v1/sessions", json={"source": {"url": "http://a/b"}})).json()
        await worker.claim()
        await worker.starts(created["id"], times_s(1, 5))
        url = child.url.replace("http", "ws", 1) + created["links"]["events"]
        async with connect(url) as socket:
            ids = [event["id"] for event in await received(socket, 3)]
            child.process.kill()
            await collect(socket, ids)
    await worker.starts(created["id"], times_s(5, 8))
    async with child_server(data, port=port), connect(f"{url}?after={ids[-1]}") as socket:
        ids += [event["id"] for event in await received(socket, 8 - len(ids))]
        await worker.enter(created["id"], "completed")
        ids += [json.loads(message)["id"] async for message in socket]
    assert ids == [event.id for event in await store.log.read_events(created["id"])]
    await store.close()
