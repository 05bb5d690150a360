"""A subscription notifies people through Apprise, here over HTTP and by mail, from confined processes."""

import base64
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from service.api.cuts import Cuts
from service.api.stills_and_clips import EventStillsAndClips
from service.event_schemas import EventMediaEvent
from service.settings import Settings
from service.sources.address_policy import AddressPolicy
from service.sources.authorities import PUBLIC_AUTHORITIES
from service.storage.blobs import Blobs
from service.storage.stored_files import StoredClip
from service.store import open_store
from service.store.subscription_records import StoredAppriseTarget
from service.subscriptions.apprise_target import AppriseTarget
from service.subscriptions.deliverer import BACKOFFS
from service.subscriptions.notifier import Notifier
from service.webhooks.retry import Backoff
from tests.support.api_kit import problem
from tests.support.mail_server import Mailbox, mail_server
from tests.support.running_server import free_port, running_server
from tests.support.subscription_kit import subscribe, subscription, until_received, until_state
from tests.support.webhook_receiver import receiving

JPEG = b"\xff\xd8 a still"


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKOFFS, "apprise", Backoff(first_s=0.2, longest_s=0.5))


@pytest.fixture
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def address(url: str) -> str:
    """The receiver as a service of Apprise, with a secret in each part."""
    return url.replace("http://", "json://user7:hunter2@").replace("/hook", "/hunter2?+X-Token=hunter2")


async def test_people_read_starts_in_order_with_a_still_and_secrets_stay_secret(
    tmp_path: Path, logged: list[structlog.typing.EventDict]
) -> None:
    with receiving() as (url, receiver):
        async with running_server(tmp_path / "data") as server:
            session = await server.submit(name="gate")
            await server.worker.claim()
            await server.worker.enter(session.id, "running")
            await Blobs(None, tmp_path / "data").put_snapshot(session.id, JPEG)
            created = await subscribe(server, {"kind": "apprise", "url": address(url)})
            assert created.target.model_dump() == {"kind": "apprise", "url": "json://…", "attach": True}
            assert created.filter.type == ["action.start"]
            starts = await server.worker.starts(session.id, [1.0, 2.0])
            await until_received(2, receiver.taken)
            result = (await server.http.post(f"/v1/subscriptions/{created.id}/test")).json()
            assert (result["delivered"], result["failure"]) == (True, None)
            record = (await server.worker.store.subscriptions.get(created.id)).record
            answers = [created.model_dump_json(), (await server.http.get("/v1/subscriptions")).text]
    *events, trial = receiver.taken
    assert [event["title"] for event in events] == ["kick: gate", "kick: gate"]
    assert [event["message"].rpartition("event ")[2] for event in events] == [start.id for start in starts]
    assert base64.b64decode(events[0]["attachments"][0]["base64"]) == JPEG
    assert (trial["title"], trial["attachments"]) == ("Test message", [])
    assert receiver.messages[0][0]["x-token"] == "hunter2"
    assert "hunter2" not in f"{answers} {logged} {record!r}"


async def test_mails_of_an_outage_arrive_in_order_when_the_server_is_back(tmp_path: Path) -> None:
    mailbox, port = Mailbox(), free_port()
    target = {
        "kind": "apprise",
        "url": f"mailto://cake:hunter2@127.0.0.1:{port}?from=cake@example.org&to=guard@example.org&format=text",
    }
    async with running_server(tmp_path / "data") as server:
        session = await server.running_session()
        await Blobs(None, tmp_path / "data").put_snapshot(session.id, JPEG)
        created = await subscribe(server, target)
        with mail_server(mailbox, port):
            before = await server.worker.starts(session.id, [1.0])
            await until_received(1, mailbox.mails)
        meanwhile = await server.worker.starts(session.id, [2.0, 3.0])
        failing = await until_state(server, created.id, "retrying")
        assert failing.last_error == "not accepted"
        with mail_server(mailbox, port):
            await until_received(3, mailbox.mails)
        found = [mail.get_body(("plain",)) for mail in mailbox.mails]
        texts = [part.get_content() for part in found if part is not None]
        for event in (*before, *meanwhile):
            assert sum(f"event {event.id}" in text for text in texts) >= 1
        assert texts.index(next(text for text in texts if f"event {meanwhile[-1].id}" in text)) == len(texts) - 1
        mail = mailbox.mails[0]
        assert (mail["to"], mail["subject"]) == ("guard@example.org", f"kick: session {session.id[:8]}")
        [image] = mail.iter_attachments()
        assert (image.get_filename(), image.get_content()) == ("still.jpg", JPEG)


async def test_a_service_that_hangs_delays_no_other(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, receiving() as (url, receiver):
        async with running_server(tmp_path / "data") as server:
            session = await server.running_session()
            hanging = f"json://127.0.0.1:{silent.getsockname()[1]}"
            stuck = await subscribe(server, {"kind": "apprise", "url": hanging})
            await subscribe(server, {"kind": "apprise", "url": address(url)})
            await server.worker.starts(session.id, [1.0, 2.0])
            await until_received(2, receiver.taken)
            await server.http.post(f"/v1/subscriptions/{stuck.id}/pause")
            assert (await subscription(server, stuck.id)).delivered == 0


async def test_a_service_that_refuses_a_file_gets_the_text_alone(tmp_path: Path) -> None:
    with receiving(statuses=[413]) as (url, receiver):
        async with running_server(tmp_path / "data") as server:
            session = await server.running_session()
            await Blobs(None, tmp_path / "data").put_snapshot(session.id, JPEG)
            await subscribe(server, {"kind": "apprise", "url": address(url)})
            await server.worker.starts(session.id, [1.0])
            await until_received(1, receiver.taken)
    assert len(receiver.messages) == 2
    assert receiver.taken[0]["attachments"] == []


async def test_a_private_address_is_not_connected_to_and_a_refusal_names_its_status(tmp_path: Path) -> None:
    with receiving(statuses=[401]) as (url, receiver):
        async with running_server(tmp_path / "data") as server:
            created = await subscribe(server, {"kind": "apprise", "url": address(url)})
            result = (await server.http.post(f"/v1/subscriptions/{created.id}/test")).json()
            assert (result["delivered"], result["failure"]) == (False, "401 Unauthorized")
        async with running_server(tmp_path / "data", source_allow="10.0.0.0/8") as server:
            for private in (address(url), "ntfy://[::1]/topic", "mailto://user:hunter2@192.168.1.2"):
                body = {"target": {"kind": "apprise", "url": private}}
                problem(await server.http.post("/v1/subscriptions", json=body), 403, "webhook_forbidden")
            result = (await server.http.post(f"/v1/subscriptions/{created.id}/test")).json()
            assert (result["delivered"], result["failure"]) == (False, "source_forbidden")
    assert len(receiver.messages) == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("dbus://hunter2", "must be a URL with one of the schemes"),
        ("json://hunter2@127.0.0.1/?verify=no&template=/etc/passwd", "does not permit: template, verify"),
        ("tgram://hunter2, json://127.0.0.1/", "incomplete or malformed"),
        ("tgram://hunter2/chat", "incomplete or malformed"),
    ],
)
async def test_an_address_that_cannot_be_used_is_refused_without_being_quoted(
    tmp_path: Path, url: str, says: str
) -> None:
    async with running_server(tmp_path / "data") as server:
        answer = await server.http.post("/v1/subscriptions", json={"target": {"kind": "apprise", "url": url}})
        problem(answer, 422, "invalid_request")
        assert says in answer.text
        assert "hunter2" not in answer.text


async def test_without_the_extra_the_answer_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    async with running_server(tmp_path / "data") as server:
        target = {"kind": "apprise", "url": "ntfys://ntfy.example.org/topic"}
        answer = await server.http.post("/v1/subscriptions", json={"target": target})
        assert "extra `apprise`" in problem(answer, 422, "invalid_request").detail


async def test_the_clip_goes_with_the_event_that_announces_it(tmp_path: Path) -> None:
    blobs, store = Blobs(None, tmp_path), open_store(f"sqlite:///{tmp_path}/cake.db")
    await blobs.put_clip(StoredClip("s1", "1000-0", 0.5), b"an mp4")
    event = EventMediaEvent(
        id="9000-0",
        session_id="s1",
        decided_s=9.0,
        time=datetime.now(UTC),
        model="mocap",
        model_version="1",
        name="gate",
        event_id="1000-0",
        label="kick",
        start_s=1.0,
        from_s=0.5,
        to_s=8.5,
        size_bytes=6,
        complete=True,
    )
    with receiving() as (url, receiver):
        notifier = Notifier(AddressPolicy((ip_network("127.0.0.0/8"),)), PUBLIC_AUTHORITIES)
        stills_and_clips = EventStillsAndClips(store.sessions, blobs, Cuts(blobs, Settings()))
        await AppriseTarget(StoredAppriseTarget(url=SecretStr(address(url))), notifier, stills_and_clips).deliver(event)
    await store.close()
    [message] = receiver.taken
    assert message["title"] == "Clip: kick: gate"
    assert base64.b64decode(message["attachments"][0]["base64"]) == b"an mp4"
