"""People's feedback on events: the types of responses, and the requests."""

from urllib.parse import quote

from cake_client.calls import Call, session_path
from cake_client.models import Model


class Feedback(Model):
    """A person's feedback on an event (`verdict` `right` or `wrong`), or an action without an event (`missed`)."""

    id: str
    """Id of the event, or of the missed action."""
    verdict: str
    label: str
    start_s: float
    end_s: float | None = None
    region: str | None = None
    note: str = ""
    clip_problem: str | None = None
    """Of a missed action that was just added: why there is no clip of it; None if there is one."""


class FeedbackList(Model):
    """All feedback on a session."""

    feedback: tuple[Feedback, ...]


def listed(session_id: str) -> Call:
    """People's feedback on a session's events."""
    return Call("GET", session_path(session_id, "/feedback"))


def verdict(session_id: str, event_id: str, is_right: bool, note: str) -> Call:
    """Say whether an event is right."""
    path = session_path(session_id, f"/events/{quote(event_id, safe='')}/feedback")
    return Call("PUT", path, json={"verdict": "right" if is_right else "wrong", "note": note})


def missed(session_id: str, label: str, start_s: float, end_s: float | None, region: str | None) -> Call:
    """Not repeatable: each request adds one."""
    body = {"label": label, "start_s": start_s, "end_s": end_s, "region": region}
    return Call("POST", session_path(session_id, "/feedback"), json=body, is_repeatable=False)
