"""Why there is no clip of an action of a source that is not stored: it follows, is not kept, or was lost."""

import math
from datetime import datetime, timedelta

from service.errors import ClipLostError, ClipNotKeptError, ClipPendingError
from service.event_schemas import ActionStartEvent
from service.schemas import ENDED_STATES
from service.setting_groups.clips import ClipSettings
from service.store.records import SessionRecord

STORED_WITHIN_S = 30.0
"""A clip is stored at most this long after its end, unless it failed: a source may be silent before it ends."""
OFF = "Clips of cameras, URLs and pushed streams are off. To keep them, the operator names actions in CAKE_CLIPS."
NOT_NAMED = "Clips of this action are not kept: the operator has not named it in CAKE_CLIPS."
PENDING = "The clip is still being recorded. An event.media event announces it; or try again in {} s."
LOST = (
    "There is no clip of this action: it could not be recorded or stored, or was deleted because of its age or the"
    " total size of clips. Warnings of the session say what could not be stored."
)


def missing_clip(
    record: SessionRecord, start: ActionStartEvent, settings: ClipSettings, now: datetime
) -> ClipNotKeptError | ClipPendingError | ClipLostError:
    """The error for a start of which no clip is stored. The settings must be those of the workers."""
    if not settings.keeps_clips_of(start.label):
        return ClipNotKeptError(NOT_NAMED if settings.clips else OFF)
    left = start.time + timedelta(seconds=settings.clip_after_s + STORED_WITHIN_S) - now
    # Clips are stored before their session ends.
    if record.state in ENDED_STATES or left <= timedelta():
        return ClipLostError(LOST)
    retry_after_s = max(1, math.ceil(left.total_seconds() - STORED_WITHIN_S))
    return ClipPendingError(PENDING.format(retry_after_s), retry_after_s=retry_after_s)
