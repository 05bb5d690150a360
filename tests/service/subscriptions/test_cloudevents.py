"""CloudEvents are read back by their own SDK, in both content modes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks import Webhook as Verifier

from service.event_schemas import EVENT
from service.subscriptions.cloudevents import binary, structured
from service.subscriptions.target import event_message
from tests.support.running_server import running_server
from tests.support.store_kit import start
from tests.support.subscription_kit import subscribe, until_received
from tests.support.webhook_receiver import receiving

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("convert", [structured, binary])
@pytest.mark.parametrize("label", ["kick", 'grüß "Gott" 100%'])
def test_the_sdk_reads_the_attributes_and_the_event(convert: type, label: str) -> None:
    event = start("session1", "1500-0").model_copy(update={"label": label, "traceparent": TRACE})
    headers, body = convert(event_message(event))
    found = from_http(HTTPMessage(headers=headers, body=body), JSONFormat(), CloudEvent)
    assert found.get_specversion() == "1.0"
    assert (found.get_id(), found.get_source()) == ("session1_1500-0", "/v1/sessions/session1")
    assert (found.get_type(), found.get_subject()) == ("cake.action.start", label)
    assert (found.get_time(), found.get_extension("traceparent")) == (event.time, TRACE)
    assert EVENT.validate_python(found.get_data()) == event
    assert all(value.isascii() and value.isprintable() for value in headers.values())


@pytest.mark.parametrize("format_", ["cloudevents", "cloudevents-binary"])
async def test_cloudevents_are_posted_and_signed(tmp_path: Path, format_: str) -> None:
    began = datetime.now(UTC)
    async with running_server(tmp_path / "data") as server:
        with receiving() as (url, receiver):
            target = {"kind": "webhook", "url": url, "format": format_}
            created = await subscribe(server, target, filter={"type": ["action.start"]})
            assert created.target.kind == "webhook"
            assert created.target.format == format_
            session = await server.running_session()
            [event] = await server.worker.starts(session.id, [1.0])
            await until_received(1, receiver.taken)
        [(headers, body)] = receiver.messages
        found = from_http(HTTPMessage(headers=headers, body=body), JSONFormat(), CloudEvent)
        assert found.get_id() == f"{session.id}_{event.id}"
        time = found.get_time()
        assert time is not None
        assert time >= began
        assert created.target.secret is not None
        Verifier(created.target.secret).verify(body, headers)
