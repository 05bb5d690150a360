"""Who looks at pictures: told to the store now and then, not with each picture."""

import math

TELL_EVERY_S = 2.0


class Viewers:
    """Of one server process."""

    def __init__(self) -> None:
        self._told_s: dict[str, float] = {}
        """When the store was last told of a session."""

    def is_news(self, session_id: str, now_s: float) -> bool:
        """Whether the store is to be told that somebody looks at this session; if so, not again for a while."""
        if now_s - self._told_s.get(session_id, -math.inf) < TELL_EVERY_S:
            return False
        self._told_s = {key: told_s for key, told_s in self._told_s.items() if now_s - told_s < TELL_EVERY_S}
        self._told_s[session_id] = now_s
        return True
