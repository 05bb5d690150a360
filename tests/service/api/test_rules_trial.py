"""Other rules are tried on a session's stored scores."""

from collections.abc import Sequence
from typing import Any

import pytest

from service.schemas import Rule, Session
from service.store.records import ScoreRow, SessionUpdate
from tests.support.api_kit import problem
from tests.support.running_server import Running

RULES = {"kick": Rule(enter=0.5, leave=0.3)}
KICKS = [0.0, 0.6, 0.0, 0.0, 0.45, 0.0] + [0.0] * 10 + [0.85, 0.85, 0.0]


async def session_with_scores(server: Running, kicks: Sequence[float], starts_s: Sequence[float]) -> Session:
    """Ten frames a second; the starts were published."""
    session = await server.running_session()
    token = server.worker.records[session.id].token
    await server.worker.starts(session.id, starts_s)
    rows = [ScoreRow(frame / 10, (score, 0.0, 0.0)) for frame, score in enumerate(kicks)]
    update = SessionUpdate(start_rules=RULES, position_s=rows[-1].pts_s)
    await server.worker.store.log.commit(session.id, token, scores=rows, update=update)
    return session


async def tried(server: Running, session: Session, **body: object) -> dict[str, Any]:
    answer = await server.http.post(f"{session.links.self}/rules:try", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_the_rules_in_force_decide_what_was_published(server: Running) -> None:
    session = await session_with_scores(server, KICKS, [0.1, 1.6])
    outcome = await tried(server, session)
    assert [start["start_s"] for start in outcome["starts"]] == [0.1, 1.6]
    assert [end["end_s"] for end in outcome["ends"]] == [0.2, 1.8]
    assert (outcome["added"], outcome["removed"], outcome["from_s"], outcome["to_s"]) == ([], [], 0.0, 1.8)
    (miss,) = outcome["near_misses"]
    assert (miss["peak_s"], miss["reason"]) == (0.4, "below_enter")
    assert miss["peak"] == pytest.approx(0.45)


async def test_other_rules_say_what_would_be_new_and_what_would_be_missing(server: Running) -> None:
    session = await session_with_scores(server, KICKS, [0.1, 1.6])
    strict = await tried(server, session, rules={"kick": {"enter": 0.7, "leave": 0.3}})
    assert [event["id"] for event in strict["removed"]] == ["100-0"]
    eager = await tried(server, session, rules={"kick": {"enter": 0.4, "leave": 0.3, "refractory_s": 0}})
    assert [start["start_s"] for start in eager["added"]] == [0.4]
    assert strict["rules_hash"] != eager["rules_hash"]
    part = await tried(server, session, after_s=0.5, until_s=1.6)
    assert ([start["start_s"] for start in part["starts"]], part["removed"]) == ([1.6], [])
    # Nothing has changed.
    assert [start["start_s"] for start in (await tried(server, session))["starts"]] == [0.1, 1.6]


async def test_a_trial_without_scores_or_of_an_unknown_label_says_so(server: Running) -> None:
    session = await server.submit()
    outcome = await tried(server, session, rules={"kick": {"enter": 0.7, "leave": 0.3}})
    assert (outcome["from_s"], outcome["starts"]) == (None, [])
    path = f"{session.links.self}/rules:try"
    body = {"rules": {"swim": {"enter": 0.7, "leave": 0.3}}}
    problem(await server.http.post(path, json=body), 422, "unknown_label")
    problem(await server.http.post("/v1/sessions/none/rules:try", json={}), 404, "not_found")


async def test_a_trial_is_bounded_and_says_where_it_stopped(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.rules_trial.MAX_SCORES", 3 * 5)
    session = await session_with_scores(server, KICKS, [0.1, 1.6])
    outcome = await tried(server, session)
    assert (outcome["to_s"], outcome["removed"]) == (0.4, [])
    assert (await tried(server, session, after_s=outcome["to_s"]))["from_s"] == 0.5
