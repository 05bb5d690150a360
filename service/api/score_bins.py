"""The highest scores of equal parts of a session, for plots of long times."""

import math

from service.store.protocols import EventLog
from service.store.records import ScoreRow

PAGE = 1000
MAX_FRAMES = 100_000
"""Largest number of frames that one request summarises: about three hours of a camera."""


async def read_highest_scores(
    log: EventLog, session_id: str, *, after_s: float | None, bin_s: float, limit: int
) -> list[ScoreRow]:
    """For each part of `bin_s` seconds with frames: each label's highest score, at the time of its last frame.

    A client that continues `after_s` the last part misses nothing, but may get the rest of that part as another one.
    Returns up to `limit` parts, fewer after MAX_FRAMES. Raises StoreUnavailableError.
    """
    found: list[ScoreRow] = []
    number: int | None = None
    for _ in range(MAX_FRAMES // PAGE):
        page = await log.read_scores(session_id, after_s=after_s, limit=PAGE)
        for row in page:
            if math.floor(row.pts_s / bin_s) == number:
                found[-1] = ScoreRow(row.pts_s, _highest(found[-1], row))
                continue
            if len(found) == limit:
                return found
            number = math.floor(row.pts_s / bin_s)
            found.append(row)
        if len(page) < PAGE:
            break
        after_s = page[-1].pts_s
    return found


def _highest(one: ScoreRow, other: ScoreRow) -> list[float]:
    if len(one.scores) != len(other.scores):
        # Labels were added between the two.
        return list(one.scores if len(one.scores) > len(other.scores) else other.scores)
    return [max(pair) for pair in zip(one.scores, other.scores, strict=True)]
