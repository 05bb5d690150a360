"""Helpers for the tests of subscriptions."""

import asyncio
from typing import Any

from service.subscription_schemas import SubscriptionInfo
from tests.support.running_server import Running, until


async def subscribe(server: Running, target: dict[str, Any], **options: Any) -> SubscriptionInfo:
    answer = await server.http.post("/v1/subscriptions", json={"target": target, **options})
    assert answer.status_code == 201, answer.text
    return SubscriptionInfo.model_validate(answer.json())


async def subscription(server: Running, subscription_id: str) -> SubscriptionInfo:
    answer = await server.http.get(f"/v1/subscriptions/{subscription_id}")
    assert answer.status_code == 200, answer.text
    return SubscriptionInfo.model_validate(answer.json())


async def until_state(server: Running, subscription_id: str, state: str) -> SubscriptionInfo:
    """Wait until the subscription is in this state."""
    async with asyncio.timeout(60):
        while (found := await subscription(server, subscription_id)).state != state:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


async def until_received(count: int, received: list[Any]) -> None:
    """Wait until the list holds so many."""
    async with asyncio.timeout(60):
        await until(lambda: len(received) >= count)
