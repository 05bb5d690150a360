"""The text about an event that people read."""

from datetime import UTC, datetime
from typing import Any

import pytest

from service.event_schemas import EVENT
from service.subscriptions.notice import notice_of

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
LATENCY = {"decode": 0.0, "queue": 0.0, "infer": 0.0, "total": 0.0}
ACTION = {"label": "kick", "region": "door", "score": 0.871, "start_s": 1.0, "latency_s": LATENCY}


@pytest.mark.parametrize(
    ("fields", "title", "body"),
    [
        (
            {"type": "action.start", **ACTION},
            "kick: gate, door",
            "Started at 2026-11-30 12:00:00 UTC with the score 0.87.",
        ),
        (
            {"type": "action.end", **ACTION, "end_s": 3.5},
            "kick: gate, door has ended",
            "It lasted 2.5 s, with the score 0.87.",
        ),
        (
            {"type": "session.state", "state": "failed", "detail": "Check the cable."},
            "gate: failed",
            "Check the cable.\n2026-11-30 12:00:00 UTC",
        ),
        (
            {"type": "session.gap", "gap_s": 4.0},
            "gate: gap",
            "4.0 s before 2026-11-30 12:00:00 UTC were not analysed.",
        ),
        (
            {"type": "session.changed", "labels": [], "start_rules": {}},
            "gate: changed",
            "Its settings were changed at 2026-11-30 12:00:00 UTC.",
        ),
    ],
)
def test_a_notice_says_what_happened_where_and_when(fields: dict[str, Any], title: str, body: str) -> None:
    base = {"id": "1-0", "session_id": "s1", "decided_s": 1.0, "time": NOON, "model": "m", "model_version": "1"}
    notice = notice_of(EVENT.validate_python({**base, "name": "gate", **fields}))
    assert (notice.title, notice.body) == (title, f"{body}\nSession s1, event 1-0")


def test_a_session_without_a_name_is_called_by_its_id() -> None:
    base = {"id": "1-0", "session_id": "0123456789", "decided_s": 1.0, "time": NOON, "model": "m", "model_version": "1"}
    assert notice_of(EVENT.validate_python({**base, "type": "session.gap", "gap_s": 1.0})).title == (
        "session 01234567: gap"
    )
