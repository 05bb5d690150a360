"""`cake subscriptions` against a real server and receiver."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr
from standardwebhooks import Webhook as Verifier

from service.store.subscription_records import StoredAppriseTarget
from tests.support.cake_command import run
from tests.support.running_server import Running, running_server
from tests.support.webhook_receiver import receiving


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log of the server, which runs in this process, out of the commands' output."""
    with structlog.testing.capture_logs():
        yield


async def cake(server: Running, *arguments: object) -> tuple[int, str, str]:
    return await asyncio.to_thread(run, "subscriptions", *arguments, CAKE_SERVER=server.url)


async def test_a_webhook_is_added_tested_paused_resumed_rotated_and_deleted(tmp_path: Path) -> None:
    with receiving(statuses=[503]) as (url, receiver):
        async with running_server(tmp_path / "data") as server:
            wanted = ["--name", "alarm", "--label", "kick", "--label", "jump", "--metadata", "site=north"]
            wanted += ["--metadata", "site=south", "--type", "action.start", "--min-score", "0.8", "--cooldown-s", "30"]
            status, out, err = await cake(server, "add", url, *wanted)
            subscription_id, secret = out.strip(), err.removeprefix("secret: ").strip()
            assert status == 0
            record = (await server.worker.store.subscriptions.get(subscription_id)).record
            assert (record.name, record.filter.label, record.cooldown_s) == ("alarm", ("kick", "jump"), 30)
            assert (record.filter.type, record.filter.min_score) == (("action.start",), 0.8)
            assert record.filter.metadata == {"site": ("north", "south")}

            refused = "cake: the target did not accept the test message: 503\n"
            assert await cake(server, "test", subscription_id) == (1, "", refused)
            assert (await cake(server, "test", subscription_id))[1].startswith("delivered in ")
            assert await cake(server, "pause", subscription_id) == (0, "paused\n", "")
            status, out, _ = await cake(server, "list", "--json")
            [found] = map(json.loads, out.splitlines())
            assert (found["id"], found["state"], found["target"]["secret"]) == (subscription_id, "paused", None)
            assert "alarm" in (await cake(server, "list"))[1]
            resumed = json.loads((await cake(server, "resume", subscription_id, "--skip-missed", "--json"))[1])
            assert resumed["state"] == "active"

            _, rotated, _ = await cake(server, "rotate-secret", subscription_id)
            await cake(server, "test", subscription_id)
            headers, body = receiver.messages[-1]
            for one in (secret, rotated.strip()):
                Verifier(one).verify(body, headers)
            assert await cake(server, "delete", subscription_id) == (0, "", "")
            assert await cake(server, "list", "--json") == (0, "", "")
            status, _, err = await cake(server, "pause", subscription_id)
            assert (status, err.startswith("cake: not_found: ")) == (1, True)


async def test_a_broker_is_added_with_its_topics_and_options_of_another_kind_are_misuse(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        url = "mqtt://user:hunter2@127.0.0.1:1"
        status, out, err = await cake(server, "add", url, "--topic", "a/b", "--by-name", "--home-assistant", "--json")
        assert (status, err) == (0, "")
        target = json.loads(out)["target"]
        assert (target["topic"], target["identify"]) == ("a/b", "name")
        assert target["home_assistant"] == {"discovery_prefix": "homeassistant"}
        assert "hunter2" not in out
        for wrong in ((url, "--format", "cloudevents"), ("http://127.0.0.1:9/", "--topic", "a")):
            status, out, err = await cake(server, "add", *wrong)
            assert (status, out, err.count("\n")) == (2, "", 1)


async def test_a_service_for_people_is_added_and_its_address_is_not_shown(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        address = "json://user:hunter2@127.0.0.1:9/"
        status, out, err = await cake(server, "add", address, "--label", "kick", "--no-attach", "--json")
        assert (status, err) == (0, "")
        assert json.loads(out)["target"]["url"] == "json://…"
        [stored] = await server.worker.store.subscriptions.all()
        assert stored.record.target == StoredAppriseTarget(url=SecretStr(address), attach=False)
        for wrong in (("--topic", "a"), ("--format", "cloudevents")):
            assert (await cake(server, "add", address, *wrong))[0] == 2
    assert "hunter2" not in out
