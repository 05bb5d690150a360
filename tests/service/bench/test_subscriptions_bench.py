"""The part `subscriptions` of `cake bench` delivers what it counts."""

from pathlib import Path

import pytest

from model.checkpoints.checkpoint import save_checkpoint
from service.bench.subscriptions import measure_subscriptions
from tests.support.tiny_model import tiny_model

pytestmark = pytest.mark.slow


async def test_every_event_goes_to_a_webhook_and_to_a_follower(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "tiny", tiny_model())
    without, with_some = await measure_subscriptions(tmp_path, tmp_path / "tiny", (0, 10), 20.0, 2.0)
    assert (without.subscriptions, without.delivered, without.webhook_p50_ms) == (0, 0, None)
    assert with_some.delivered > 0
    assert with_some.webhook_p50_ms is not None
    assert with_some.webhook_p95_ms is not None
    assert 0 < with_some.webhook_p50_ms <= with_some.webhook_p95_ms
    for cost in (without, with_some):
        assert 0 < cost.websocket_p50_ms <= cost.websocket_p95_ms
