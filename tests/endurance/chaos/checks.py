"""Conditions that must hold at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.event_schemas import Event, event_key
from tests.endurance.chaos.followers import Follower
from tests.endurance.chaos.program import Program
from tests.endurance.chaos.receivers import Receivers
from tests.endurance.chaos.submissions import Submitted
from tests.support.session_kit import actions

LONGEST_SILENCE_S = 120.0


@dataclass(frozen=True)
class Outcome:
    """One check: the number of examined items, and what is wrong with some of them."""

    what: str
    checked: int
    wrong: list[str]


def none_ended(programs: Sequence[Program]) -> Outcome:
    wrong = [f"{program.name}: see its log" for program in programs if program.has_ended_by_itself]
    return Outcome("servers and workers that run until they are killed", len(programs), wrong)


def stored_once_in_order(stored: dict[str, list[Event]]) -> Outcome:
    wrong = []
    for session_id, events in stored.items():
        keys = [event_key(event.id) for event in events]
        if keys != sorted(set(keys)):
            wrong.append(f"session {session_id}: {len(keys)} events, {len(set(keys))} ids")
    return Outcome("sessions whose events are stored once and in order", len(stored), wrong)


def files_undisturbed(submitted: Sequence[Submitted], stored: dict[str, list[Event]]) -> Outcome:
    files = [one for one in submitted if one.expected is not None]
    wrong = []
    for one in files:
        events, told = stored[one.session_id], actions(stored[one.session_id])
        last = events[-1]
        state = last.state if last.type == "session.state" else last.type
        detail = last.detail if last.type == "session.state" else ""
        if state != "completed" or told != one.expected:
            assert one.expected is not None
            missing = [action for action in one.expected if action not in told]
            wrong.append(f"file {one.session_id}: {state} {detail or ''}; {len(told)} of {len(one.expected)} actions,"
                         f" first missing {missing[:1]}")  # fmt: skip
    return Outcome("files whose events are those of an undisturbed run", len(files), wrong)


def none_failed(submitted: Sequence[Submitted], stored: dict[str, list[Event]]) -> Outcome:
    """Of cameras: they are there all the time, so nothing but a stop ends their sessions."""
    cameras = [one.session_id for one in submitted if one.expected is None]
    wrong = []
    for session_id in cameras:
        last = stored[session_id][-1]
        if last.type != "session.state" or last.state != "stopped":
            wrong.append(f"camera {session_id}: {last.model_dump_json(exclude_none=True)}")
    return Outcome("cameras whose sessions continued until they were stopped", len(cameras), wrong)


def followed_once_in_order(followers: Sequence[Follower], stored: dict[str, list[Event]]) -> Outcome:
    wrong = []
    for follower in followers:
        for session_id, expected in stored.items():
            if follower.session_id in (session_id, None):
                got = [event for event in follower.events if event.session_id == session_id]
                if got != expected:
                    wrong.append(f"follower of {follower.session_id or 'all'}: {difference(ids(expected), ids(got))}")
        wrong += [f"follower of {follower.session_id or 'all'}: {refusal}" for refusal in set(follower.refusals)]
    return Outcome("followers that got every event once and in order", len(followers), wrong)


def delivered_in_order(submitted: Sequence[Submitted], stored: dict[str, list[Event]], got: Receivers) -> Outcome:
    """At least once: of each event, the first arrival counts."""
    due = [one for one in submitted if one.receiver not in (None, Receivers.NEVER)]
    wrong = []
    for one in due:
        first_arrivals = list(dict.fromkeys(got.ids[one.session_id]))
        if first_arrivals != ids(stored[one.session_id]):
            wrong.append(f"webhook of {one.session_id}: {difference(ids(stored[one.session_id]), first_arrivals)}")
    return Outcome("webhooks that got every event, in order", len(due), wrong)


def never_silent(followers: Sequence[Follower]) -> Outcome:
    """Whatever else was disturbed, sessions continue."""
    wrong = [
        f"follower of {follower.session_id or 'all'}: nothing for {follower.longest_silence_s:.0f} s"
        for follower in followers
        if follower.longest_silence_s > LONGEST_SILENCE_S
    ]
    return Outcome(f"followers of long sessions without a silence of {LONGEST_SILENCE_S:.0f} s", len(followers), wrong)


def ids(events: Sequence[Event]) -> list[str]:
    return [event.id for event in events]


def difference(expected: list[str], got: list[str]) -> str:
    """In words."""
    missing = [one for one in expected if one not in set(got)]
    extra = [one for one in got if one not in set(expected)]
    repeated = sorted({one for one in got if got.count(one) > 1}, key=event_key)
    if not (missing or extra or repeated):
        return "out of order, or with another content"
    found = {"missing": missing, "unknown": extra, "repeated": repeated}
    return ", ".join(f"{len(some)} {kind}: {', '.join(some[:3])}" for kind, some in found.items() if some)
