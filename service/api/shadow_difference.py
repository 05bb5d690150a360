"""Compares what a shadow version found in sessions with what was published. Pure, except for its reader."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.access.sight import Sight
from service.errors import NotFoundError
from service.shadow_schemas import DifferingStart, LabelDifference, SessionDifference, ShadowDifference, StartCounts
from service.store.model_records import UploadedModel
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.shadow_records import ShadowOfSession, ShadowStart

SAME_WITHIN_S = 1.0
"""Starts of one label and region that are no further apart are the same action."""
MAX_STARTS = 200


@dataclass(frozen=True)
class Pairs:
    """The starts of one session: pairs of (serving, shadow), and starts that only one version found."""

    both: Sequence[tuple[ShadowStart, ShadowStart]]
    alone: Sequence[ShadowStart]


def pairs_of(starts: Iterable[ShadowStart]) -> Pairs:
    """Pair each start with the first one of the other version, of its label and region, that is near enough."""
    both: list[tuple[ShadowStart, ShadowStart]] = []
    alone: list[ShadowStart] = []
    waiting: dict[tuple[str, str | None], list[ShadowStart]] = {}
    for start in sorted(starts, key=lambda each: each.start_s):
        queue = waiting.setdefault((start.label, start.region), [])
        while queue and start.start_s - queue[0].start_s > SAME_WITHIN_S:
            alone.append(queue.pop(0))
        if queue and queue[0].found_by != start.found_by:
            other = queue.pop(0)
            both.append((other, start) if start.found_by == "shadow" else (start, other))
        else:
            queue.append(start)
    return Pairs(both, alone + [start for queue in waiting.values() for start in queue])


async def read_difference(store: Store, shadow: UploadedModel, serving: str, *, sight: Sight) -> ShadowDifference:
    """The difference in the sessions that `sight` shows."""
    found: list[tuple[SessionRecord, ShadowOfSession]] = []
    for of_session in await store.shadows.of_version(shadow.key):
        try:
            found.append((await store.sessions.get(of_session.session_id, sight=sight), of_session))
        except NotFoundError:
            continue  # It is out of sight, or was deleted a moment ago.
    return difference(shadow, serving, found)


def difference(
    shadow: UploadedModel, serving: str, found: Sequence[tuple[SessionRecord, ShadowOfSession]]
) -> ShadowDifference:
    """The difference in these sessions; `serving` is the version that new sessions use."""
    both, only_serving, only_shadow = Counter[str](), Counter[str](), Counter[str]()
    sessions: list[SessionDifference] = []
    starts: list[DifferingStart] = []
    for record, of_session in found:
        pairs = pairs_of(of_session.starts)
        in_both = Counter(mine.label for mine, _ in pairs.both)
        serving_alone = Counter(start.label for start in pairs.alone if start.found_by == "serving")
        shadow_alone = Counter(start.label for start in pairs.alone if start.found_by == "shadow")
        sessions.append(_session(record, of_session, in_both, serving_alone, shadow_alone))
        starts += [_differing(record.id, start) for start in pairs.alone]
        both, only_serving, only_shadow = both + in_both, only_serving + serving_alone, only_shadow + shadow_alone
    followed_s = sum(session.followed_s for session in sessions)
    per_hour = 3600 / followed_s if followed_s > 0 else None
    return ShadowDifference(
        model=shadow.info.name,
        version=shadow.info.version,
        serving_version=serving,
        followed_s=round(followed_s, 3),
        labels={
            label: LabelDifference(
                both=both[label],
                only_serving=only_serving[label],
                only_shadow=only_shadow[label],
                serving_per_hour=None if per_hour is None else round((both + only_serving)[label] * per_hour, 2),
                shadow_per_hour=None if per_hour is None else round((both + only_shadow)[label] * per_hour, 2),
            )
            for label in sorted({*shadow.info.labels, *both, *only_serving, *only_shadow})
        },
        sessions=sessions,
        starts=sorted(starts, key=lambda start: start.time, reverse=True)[:MAX_STARTS],
    )


def _session(
    record: SessionRecord,
    of_session: ShadowOfSession,
    both: Counter[str],
    only_serving: Counter[str],
    only_shadow: Counter[str],
) -> SessionDifference:
    return SessionDifference(
        session_id=record.id,
        name=record.name,
        model_version=record.model_version,
        followed_s=round(sum(span.to_s - span.from_s for span in of_session.spans), 3),
        missed_frames=sum(span.missed_frames for span in of_session.spans),
        labels={
            label: StartCounts(both=both[label], only_serving=only_serving[label], only_shadow=only_shadow[label])
            for label in sorted({*both, *only_serving, *only_shadow})
        },
    )


def _differing(session_id: str, start: ShadowStart) -> DifferingStart:
    return DifferingStart(
        found_by=start.found_by,
        session_id=session_id,
        event_id=start.event_id,
        label=start.label,
        region=start.region,
        start_s=start.start_s,
        score=start.score,
        time=start.time,
    )
