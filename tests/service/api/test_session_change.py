"""A session is submitted with its own rules, and changed while it runs."""

import pytest

from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.running_server import SECRET_URL, Running

RULE = {"enter": 0.7, "leave": 0.4, "min_duration_s": 0.2, "refractory_s": 1.0}


async def test_a_session_takes_rules_for_the_labels_that_it_reports(server: Running) -> None:
    session = await server.submit(rules={"kick": RULE})
    assert session.model_dump(mode="json")["rules"] == {"kick": RULE}
    assert (await server.worker.claim()).rules["kick"].enter == 0.7
    body = {"source": {"url": SECRET_URL}, "labels": ["jump"], "rules": {"kick": RULE}}
    rejected = problem(await server.http.post("/v1/sessions", json=body), 422, "unknown_label")
    assert rejected.known == ["jump"]


@pytest.mark.parametrize(
    "rule", [{"enter": 0.3, "leave": 0.4}, {"enter": 1.1, "leave": 0.4}, {"enter": 0.3}, {**RULE, "exit": 1}]
)
async def test_a_rule_that_cannot_be_is_rejected(server: Running, rule: dict[str, float]) -> None:
    body = {"source": {"url": SECRET_URL}, "rules": {"kick": rule}}
    problem(await server.http.post("/v1/sessions", json=body), 422, "invalid_request")


async def test_a_session_is_changed_field_by_field(server: Running) -> None:
    session = await server.submit(labels=["kick"], name="gate", rules={"kick": RULE})
    path = session.links.self
    changed = (await server.http.patch(path, json={"metadata": {"site": "north"}})).json()
    assert (changed["name"], changed["metadata"], changed["rules"]) == ("gate", {"site": "north"}, {"kick": RULE})
    # On a busy machine its lease may have run out.
    await server.worker.register()
    changed = (await server.http.patch(path, json={"labels": ["jump", "kick"], "name": None, "rules": {}})).json()
    assert (changed["labels"], changed["name"], changed["rules"]) == (["jump", "kick"], None, {})
    assert (await server.http.get(path)).json() == changed
    assert (await server.http.get(session.links.scores)).json()["labels"] == ["kick", "jump"]
    assert (await server.http.patch(path, json={"labels": None})).json()["labels"] == ["kick", "jump", "walk"]


async def test_a_change_that_cannot_be_made_says_why(server: Running) -> None:
    session = await server.running_session()
    path = session.links.self
    problem(await server.http.patch(path, json={}), 422, "invalid_request")
    problem(await server.http.patch(path, json={"pace": "fast"}), 422, "invalid_request")
    problem(await server.http.patch(path, json={"labels": ["swim"]}), 422, "unknown_label")
    problem(await server.http.patch(path, json={"rules": {"swim": RULE}}), 422, "unknown_label")
    problem(await server.http.patch("/v1/sessions/none", json={"name": "x"}), 404, "not_found")
    await server.worker.enter(session.id, "completed")
    problem(await server.http.patch(path, json={"rules": {"kick": RULE}}), 409, "session_ended")
    assert (await server.http.patch(path, json={"name": "x"})).json()["name"] == "x"


async def test_only_the_owner_with_the_scope_changes_a_session(server: Running) -> None:
    owner, other = [await make_key(server, "sessions:write") for _ in range(2)]
    reader = await make_key(server, "sessions:read")
    body = {"source": {"push": True}}
    path = (await server.http.post("/v1/sessions", json=body, headers=bearer(owner))).headers["location"]
    problem(await server.http.patch(path, json={"name": "x"}, headers=bearer(other)), 404, "not_found")
    problem(await server.http.patch(path, json={"name": "x"}, headers=bearer(reader)), 403, "missing_scope")
    assert (await server.http.patch(path, json={"name": "x"}, headers=bearer(owner))).json()["name"] == "x"
