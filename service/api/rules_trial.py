"""Tries other rules on the stored scores of a session: the actions that they find, and how these differ."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter
from pydantic import Field

from model.config import StartRule, rules_hash
from service.api.authentication import SessionsReader
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.json_body import JsonRoute
from service.api.new_session import check_rules
from service.api.sessions import SessionId
from service.event_schemas import ActionStartEvent, Event
from service.requests import RulesTrial
from service.schemas import ENDED_STATES, Rule, Schema
from service.store.protocols import EventLog
from service.store.records import ScoreRow, SessionRecord

if TYPE_CHECKING:
    from model.redecide import Redecision
    from model.thresholds import ActionEnd, ActionStart

PAGE = 1000
MAX_SCORES = 1_000_000
"""Largest number of scores that one trial decides on: about two hours of a camera with 15 labels. Takes 20 MB."""
MAX_NEAR_MISSES = 1000
router = APIRouter(route_class=JsonRoute, tags=["sessions"], responses=problem_responses(*AUTH_STATUSES))


class _OfOneLabel(Schema):
    region: str | None = Field(description="Name of the region; null in sessions without regions.")
    label: str = Field(description="The action.")


class TriedStart(_OfOneLabel):
    """An action start that the tried rules find."""

    score: float = Field(description="Mean score from `start_s` to `decided_s`.")
    start_s: float = Field(description="Media time at which the action would have started, in seconds.")
    decided_s: float = Field(description="Media time at which it would have been decided, in seconds.")


class TriedEnd(_OfOneLabel):
    """The end of an action that the tried rules find."""

    score: float = Field(description="Mean score over the whole action.")
    start_s: float = Field(description="Media time at which the action would have started, in seconds.")
    end_s: float = Field(description="Media time at which it would have ended, in seconds.")


class NearMissFound(_OfOneLabel):
    """A run of scores that did not become an action."""

    peak: float = Field(description="Highest score of the run.")
    peak_s: float = Field(description="Media time of the highest score, in seconds.")
    start_s: float = Field(description="Media time from which the score was at least half of `enter`, in seconds.")
    end_s: float = Field(description="Media time until which the score was at least half of `enter`, in seconds.")
    reason: Literal["below_enter", "too_short", "refractory"] = Field(
        description="Why it would not have been an action: the peak is below `enter`, the run is shorter than "
        "`min_duration_s`, or it began within `refractory_s` after an end."
    )


class TriedRules(Schema):
    """What rules would have decided on the scores that are kept, from `from_s` to `to_s`."""

    start_rules: dict[str, Rule] = Field(description="The rules that were tried, by label.")
    rules_hash: str = Field(description="Their fingerprint.")
    from_s: float | None = Field(description="Media time of the first frame, in seconds; null without scores.")
    to_s: float | None = Field(description="Media time of the last frame; to try later ones, send it as `after_s`.")
    starts: list[TriedStart] = Field(description="Actions that would have started.")
    ends: list[TriedEnd] = Field(description="Actions that would have ended.")
    near_misses: list[NearMissFound] = Field(
        description="Runs that came near a start; at most 1,000, those with the highest peaks."
    )
    added: list[TriedStart] = Field(description="Those of `starts` that were not published.")
    removed: list[ActionStartEvent] = Field(description="Published starts that these rules would not have decided.")


@router.post(
    "/v1/sessions/{session_id}/rules:try",
    summary="Try rules on the scores that a session kept",
    description="Decides again, without changing anything. Labels that are not named keep the rules in force. One "
    "request decides on up to 1,000,000 scores, frames times labels.",
    responses=problem_responses(404, 422, 503),
)
async def try_rules(
    context: SharedContext, caller: SessionsReader, session_id: SessionId, trial: RulesTrial
) -> TriedRules:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    check_rules(trial.rules, record.score_labels)
    context.audit.record_view(caller.actor, session=session_id, what="scores")
    rules = {label: rule.as_start_rule() for label, rule in {**record.start_rules, **trial.rules}.items()}
    # One at a time, and clients in turns: a trial takes memory, and processor time that the server's requests need.
    async with context.trials.place(caller.client):
        rows = await _read_scores(context, record, trial)
        if not rows:
            return _answer(record, rules, rows, [], [])
        events = await _read_events(context.store.log, session_id)
        return await asyncio.to_thread(_try, record, rules, rows, events)


async def _read_scores(context: Context, record: SessionRecord, trial: RulesTrial) -> list[ScoreRow]:
    columns = len(record.score_labels) * record.streams
    rows: list[ScoreRow] = []
    after_s = trial.after_s
    while (room := MAX_SCORES // columns - len(rows)) > 0:
        limit = min(PAGE, room)
        page = await context.store.log.read_scores(record.id, after_s=after_s, limit=limit)
        rows += [row for row in page if trial.until_s is None or row.pts_s <= trial.until_s]
        if len(page) < limit or (trial.until_s is not None and page[-1].pts_s > trial.until_s):
            break
        after_s = page[-1].pts_s
    return rows


async def _read_events(log: EventLog, session_id: str) -> list[Event]:
    events: list[Event] = []
    while len(page := await log.read_events(session_id, after=events[-1].id if events else None, limit=PAGE)) == PAGE:
        events += page
    return events + page


def _try(
    record: SessionRecord, rules: Mapping[str, StartRule], rows: Sequence[ScoreRow], events: Sequence[Event]
) -> TriedRules:
    """In a thread."""
    # NumPy takes long to import, and most servers are never asked for a trial.
    import numpy as np

    from model.redecide import redecide

    labels, pts_s_T = record.score_labels, np.array([row.pts_s for row in rows])
    first_s, last_s = rows[0].pts_s, rows[-1].pts_s
    gaps_s = [event.decided_s for event in events if event.type == "session.gap" and first_s < event.decided_s]
    is_over = record.state in ENDED_STATES and last_s >= record.position_s
    found: list[tuple[str | None, Redecision]] = []
    for number, region in enumerate([region.name for region in record.regions] or [None]):
        scores_TK = np.zeros((len(rows), len(labels)))
        for frame, row in enumerate(rows):
            scores = row.of_stream(number, record.streams)
            scores_TK[frame, : len(scores)] = scores
        found.append((region, redecide(labels, rules, pts_s_T, scores_TK, gaps_s=gaps_s, is_over=is_over)))
    published = [
        event
        for event in events
        if event.type == "action.start" and event.start_s >= first_s and event.decided_s <= last_s
    ]
    return _answer(record, rules, rows, found, published)


def _answer(
    record: SessionRecord,
    rules: Mapping[str, StartRule],
    rows: Sequence[ScoreRow],
    found: "Sequence[tuple[str | None, Redecision]]",
    published: Sequence[ActionStartEvent],
) -> TriedRules:
    starts = [_start(region, start) for region, decided in found for start in decided.starts]
    near = [NearMissFound(region=region, **vars(miss)) for region, decided in found for miss in decided.near_misses]
    highest = sorted(near, key=lambda miss: miss.peak, reverse=True)[:MAX_NEAR_MISSES]
    tried = {(start.region, start.label, start.start_s) for start in starts}
    known = {(event.region, event.label, event.start_s) for event in published}
    return TriedRules(
        start_rules={label: Rule(**vars(rule)) for label, rule in rules.items()},
        rules_hash=rules_hash(rules),
        from_s=rows[0].pts_s if rows else None,
        to_s=rows[-1].pts_s if rows else None,
        starts=starts,
        ends=[_end(region, end) for region, decided in found for end in decided.ends],
        near_misses=sorted(highest, key=lambda miss: miss.start_s),
        added=[start for start in starts if (start.region, start.label, start.start_s) not in known],
        removed=[event for event in published if (event.region, event.label, event.start_s) not in tried],
    )


def _start(region: str | None, start: "ActionStart") -> TriedStart:
    """Rounded as events are."""
    return TriedStart(
        region=region,
        label=start.label,
        score=round(start.score, 4),
        start_s=round(start.start_s, 3),
        decided_s=round(start.decided_s, 3),
    )


def _end(region: str | None, end: "ActionEnd") -> TriedEnd:
    return TriedEnd(
        region=region,
        label=end.label,
        score=round(end.score, 4),
        start_s=round(end.start_s, 3),
        end_s=round(end.end_s, 3),
    )
