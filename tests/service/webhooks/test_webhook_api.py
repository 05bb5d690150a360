"""Operators of a receiver see the state of delivery, have events delivered again, and rotate the secret."""

import asyncio
from pathlib import Path

from service.api.webhook import WebhookStatus
from service.webhooks.signature import signed_headers
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.events_kit import all_ids, times_s
from tests.support.running_server import Running, running_server, until
from tests.support.webhook_receiver import receiving


async def completed(server: Running, url: str) -> tuple[str, str]:
    """The id and webhook secret of a session that has ended."""
    session = await server.submit(webhook={"url": url})
    assert session.webhook is not None
    assert session.webhook.secret is not None
    await server.worker.claim()
    await server.worker.enter(session.id, "running")
    await server.worker.starts(session.id, times_s(1, 4))
    await server.worker.enter(session.id, "completed")
    return session.id, session.webhook.secret


async def status_of(server: Running, session_id: str) -> WebhookStatus:
    answer = await server.http.get(f"/v1/sessions/{session_id}/webhook")
    assert answer.status_code == 200, answer.text
    return WebhookStatus.model_validate(answer.json())


async def until_state(server: Running, session_id: str, state: str) -> WebhookStatus:
    async with asyncio.timeout(120):
        while (found := await status_of(server, session_id)).state != state:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


async def test_a_receiver_that_answers_gone_is_shown_as_disabled_and_redelivery_enables_it(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving(statuses=[410]) as (url, receiver):
            session_id, _ = await completed(server, url.replace("http://", "http://user:hunter2@"))
            status = await until_state(server, session_id, "disabled")
            assert status.delivered is None
            assert status.failed_attempts == 1
            assert status.failing_since is not None
            assert (status.attempts[0].delivered, status.attempts[0].failure) == (False, "410")
            assert "hunter2" not in status.model_dump_json()
            answer = await server.http.post(f"/v1/sessions/{session_id}/webhook/redeliver", json={})
            assert answer.status_code == 202
            await until(receiver.has_ended)
            assert receiver.ids == await all_ids(server, session_id)
            status = await until_state(server, session_id, "finished")
            assert status.delivered == receiver.ids[-1]


async def test_events_after_one_are_delivered_again(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving() as (url, receiver):
            session_id, _ = await completed(server, url)
            await until_state(server, session_id, "finished")
            before = list(receiver.ids)
            body = {"after": before[2]}
            await server.http.post(f"/v1/sessions/{session_id}/webhook/redeliver", json=body)
            await until(lambda: len(receiver.ids) == 2 * len(before) - 3)
            assert receiver.ids[len(before) :] == before[3:]


async def test_a_rotated_secret_signs_together_with_the_old_one(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving() as (url, receiver):
            session_id, old = await completed(server, url)
            await until_state(server, session_id, "finished")
            count = len(receiver.messages)
            rotated = (await server.http.post(f"/v1/sessions/{session_id}/webhook/rotate-secret", json={})).json()
            assert rotated["secret"] not in (None, old)
            await server.http.post(f"/v1/sessions/{session_id}/webhook/redeliver", json={})
            await until(lambda: len(receiver.messages) > count)
            headers, body = receiver.messages[count]
            sent = (headers["webhook-id"], int(headers["webhook-timestamp"]), body)
            assert headers["webhook-signature"] == signed_headers([rotated["secret"], old], *sent)["webhook-signature"]


async def test_only_the_owner_reaches_a_webhook_and_a_session_without_one_has_none(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        session = await server.submit()
        path = f"/v1/sessions/{session.id}/webhook"
        problem(await server.http.get(path), 404, "not_found")
        problem(await server.http.post(f"{path}/redeliver", json={"after": "x"}), 422, "invalid_request")
        problem(await server.http.post(f"{path}/rotate-secret", json={"secret": "x"}), 422, "invalid_request")
        problem(await server.http.post(f"{path}/rotate-secret", json={"keep_old_s": 1e9}), 422, "invalid_request")
        key = await make_key(server, "sessions:read", "sessions:write")
        problem(await server.http.get(path, headers=bearer(key)), 404, "not_found")
