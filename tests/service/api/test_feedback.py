"""People say which events were right, and which actions were missed."""

import pytest

from service.feedback import AddedMissedAction, Feedback, SessionFeedback
from service.live.missed_clip import NOT_RUNNING
from service.schemas import NamedRegion, Session
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.running_server import Running


async def feedback_of(server: Running, session: Session) -> list[Feedback]:
    answer = await server.http.get(f"{session.links.self}/feedback")
    return SessionFeedback.model_validate_json(answer.content).feedback


async def judge(server: Running, session: Session, event_id: str, **body: str) -> Feedback:
    answer = await server.http.put(f"{session.links.self}/events/{event_id}/feedback", json=body)
    assert answer.status_code == 200, answer.text
    return Feedback.model_validate_json(answer.content)


async def test_an_event_is_judged_judged_again_and_the_judgement_withdrawn(server: Running) -> None:
    session = await server.running_session()
    first, second = await server.worker.starts(session.id, [1.0, 2.0])
    given = await judge(server, session, first.id, verdict="wrong", note="a dog")
    assert (given.verdict, given.label, given.start_s, given.note) == ("wrong", "kick", 1.0, "a dog")
    await judge(server, session, second.id, verdict="right")
    await judge(server, session, first.id, verdict="right")
    assert [(each.id, each.verdict, each.note) for each in await feedback_of(server, session)] == [
        (first.id, "right", ""),
        (second.id, "right", ""),
    ]
    path = f"{session.links.self}/events/{first.id}/feedback"
    for _ in range(2):
        assert (await server.http.delete(path)).status_code == 204
    assert [each.id for each in await feedback_of(server, session)] == [second.id]


async def test_feedback_is_counted_by_model_label_and_verdict(server: Running) -> None:
    session = await server.running_session()
    [event] = await server.worker.starts(session.id, [1.0])
    await judge(server, session, event.id, verdict="wrong")
    await server.http.post(f"{session.links.self}/feedback", json={"label": "jump", "start_s": 3})
    text = (await server.http.get("/metrics")).text
    for label, verdict in (("kick", "wrong"), ("jump", "missed")):
        assert f'cake_feedback_total{{label="{label}",model="{session.model}",verdict="{verdict}"}} 1.0' in text


async def test_a_missed_action_is_added_and_removed(server: Running) -> None:
    session = await server.running_session()
    path = f"{session.links.self}/feedback"
    answer = await server.http.post(path, json={"label": "jump", "start_s": 3.5, "end_s": 4.0})
    assert answer.status_code == 201
    missed = AddedMissedAction.model_validate_json(answer.content)
    assert (missed.verdict, missed.label, missed.start_s, missed.score) == ("missed", "jump", 3.5, None)
    assert missed.clip_problem == NOT_RUNNING
    assert await feedback_of(server, session) == [Feedback(**missed.model_dump(exclude={"clip_problem"}))]
    assert (await server.http.delete(f"{path}/{missed.id}")).status_code == 204
    assert await feedback_of(server, session) == []


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"label": "fly", "start_s": 1}, "unknown_label", "kick, jump, walk"),
        ({"label": "kick", "start_s": 2, "end_s": 1}, "invalid_request", "end_s"),
        ({"label": "kick", "start_s": 1, "region": "door"}, "invalid_request", "no regions"),
        ({"label": "kick", "start_s": "1e999"}, "invalid_request", "start_s"),
    ],
)
async def test_a_missed_action_that_cannot_be_says_why(
    server: Running, body: dict[str, object], code: str, says: str
) -> None:
    session = await server.running_session()
    refused = problem(await server.http.post(f"{session.links.self}/feedback", json=body), 422, code)
    assert says in f"{refused.detail} {refused.errors}"


async def test_a_missed_action_names_a_region_where_the_session_has_some(server: Running) -> None:
    door = NamedRegion(name="door", x=0, y=0, width=0.5, height=1)
    session = await server.submit(regions=[door.model_dump()])
    path = f"{session.links.self}/feedback"
    refused = problem(await server.http.post(path, json={"label": "kick", "start_s": 1}), 422, "invalid_request")
    assert "door" in refused.detail
    answer = await server.http.post(path, json={"label": "kick", "start_s": 1, "region": "door"})
    assert answer.json()["region"] == "door"


async def test_only_actions_of_the_session_can_be_judged(server: Running) -> None:
    session = await server.running_session()
    for event_id in ("5000-0", "0-0"):
        path = f"{session.links.self}/events/{event_id}/feedback"
        problem(await server.http.put(path, json={"verdict": "right"}), 404, "not_found")


async def test_feedback_belongs_to_the_owner_and_names_its_key(server: Running) -> None:
    mine = await make_key(server, "sessions:read", "sessions:write", name="mine")
    other = await make_key(server, "sessions:write")
    answer = await server.http.post(
        "/v1/sessions", json={"source": {"url": "http://example.org/v.mp4"}}, headers=bearer(mine)
    )
    path = f"{answer.json()['links']['self']}/feedback"
    body = {"label": "kick", "start_s": 1}
    problem(await server.http.post(path, json=body, headers=bearer(other)), 404, "not_found")
    given = (await server.http.post(path, json=body, headers=bearer(mine))).json()
    assert given["by"] == "mine"


async def test_feedback_is_deleted_with_its_session(server: Running) -> None:
    session = await server.running_session()
    [event] = await server.worker.starts(session.id, [1.0])
    await judge(server, session, event.id, verdict="wrong")
    await server.worker.enter(session.id, "completed")
    assert (await server.http.delete(session.links.self)).status_code == 204
    problem(await server.http.get(f"{session.links.self}/feedback"), 404, "not_found")
    assert await server.worker.store.feedback.of_session(session.id) == []
