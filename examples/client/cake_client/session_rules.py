"""Rules that turn a session's scores into actions: what trying others finds, and the requests."""

from collections.abc import Mapping
from typing import Any

from cake_client.calls import Call, session_path
from cake_client.models import ActionStart, Model, Rule

Rules = Mapping[str, Rule]
"""By label."""


class TriedStart(Model):
    """An action that the tried rules find."""

    label: str
    score: float
    start_s: float
    decided_s: float
    region: str | None = None


class TriedEnd(Model):
    """The end of an action that the tried rules find."""

    label: str
    score: float
    start_s: float
    end_s: float
    region: str | None = None


class NearMiss(Model):
    """Scores that came near an action. `reason` is `below_enter`, `too_short` or `refractory`."""

    label: str
    peak: float
    peak_s: float
    start_s: float
    end_s: float
    reason: str
    region: str | None = None


class TriedRules(Model):
    """What rules would have decided on the scores that are kept, from `from_s` to `to_s`."""

    start_rules: Mapping[str, Rule]
    rules_hash: str
    from_s: float | None = None
    """None without scores."""
    to_s: float | None = None
    """To try later frames, pass it as `after_s`."""
    starts: tuple[TriedStart, ...]
    ends: tuple[TriedEnd, ...]
    near_misses: tuple[NearMiss, ...]
    added: tuple[TriedStart, ...]
    """Starts that were not published."""
    removed: tuple[ActionStart, ...]
    """Published starts that these rules would not have decided."""


def chosen(session_id: str, rules: Rules) -> Call:
    """Replace the session's own rules."""
    return Call("PATCH", session_path(session_id), json={"rules": _bodies(rules)})


def trial(session_id: str, rules: Rules, after_s: float | None, until_s: float | None) -> Call:
    """Decide again, without changing anything."""
    body = {"rules": _bodies(rules), "after_s": after_s, "until_s": until_s}
    return Call("POST", session_path(session_id, "/rules:try"), json=body)


def _bodies(rules: Rules) -> dict[str, Any]:
    return {label: rule.model_dump() for label, rule in rules.items()}
