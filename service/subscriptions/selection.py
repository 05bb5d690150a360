"""Chooses which of the events that it reads a subscription delivers."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from service.event_filter import ANY, EventFilter
from service.event_schemas import ActionEndEvent, ActionStartEvent, Event
from service.schemas import ENDED_STATES
from service.store.subscription_records import LastAction

MAX_REMEMBERED = 500
"""Limit of remembered actions; beyond it, those that are over are forgotten first."""


OpenActions = Callable[[str], list[tuple[str | None, str]]]
"""Regions and labels of the actions of a session that are in progress, as far as they were delivered."""


class Selection:
    """Selects the events that pass a filter, without those that a cooldown holds back.

    A cooldown holds back an action, with its end, that begins within `cooldown_s` of media time after the last one of
    the same session, region and label that passed. `actions` is all that is remembered; it is stored with the cursor,
    so that a restart changes no decision.

    With `has_states` the target shows whether an action is in progress: each that passed is followed by its end, and
    events without a label pass as well, as far as their session does.
    """

    def __init__(
        self, wanted: EventFilter, *, cooldown_s: float, has_states: bool, actions: Mapping[str, LastAction]
    ) -> None:
        self._wanted = replace(wanted, types=ANY) if has_states else wanted
        self._cooldown_s = cooldown_s
        self._has_states = has_states
        self.actions = dict(actions)
        self.read = replace(self._wanted, labels=ANY, regions=ANY, min_score=None) if has_states else wanted
        """Passes every event that may be delivered."""

    def admits(self, event: Event) -> bool:
        """Whether an event that `read` passes is delivered; notes that it is."""
        if event.type not in ("action.start", "action.end"):
            return self._has_states or self._wanted.passes(event)
        if self._cooldown_s == 0 and not self._has_states:
            return self._wanted.passes(event)
        key = _key(event.session_id, event.region, event.label)
        last = self.actions.get(key)
        if not self._passes(event, last):
            return False
        self.actions.pop(key, None)
        if event.type == "action.start" or self._cooldown_s > 0:
            self.actions[key] = LastAction(start_s=event.start_s, is_open=event.type == "action.start")
            self._bound()
        return True

    def open_actions(self, session_id: str) -> list[tuple[str | None, str]]:
        """Regions and labels of the actions of a session that were admitted and are in progress."""
        keys = [key for key, action in self.actions.items() if action.is_open and key.startswith(f"{session_id}\n")]
        return [(region or None, label) for _, region, label in (key.split("\n", 2) for key in keys)]

    def forget_ended(self, event: Event) -> None:
        """Forget the actions of a session with its last event."""
        if event.type == "session.state" and event.state in ENDED_STATES:
            for key in [key for key in self.actions if key.startswith(f"{event.session_id}\n")]:
                del self.actions[key]

    def _passes(self, event: ActionStartEvent | ActionEndEvent, last: LastAction | None) -> bool:
        ends_last = event.type == "action.end" and last is not None and last.is_open and event.start_s == last.start_s
        if self._has_states and event.type == "action.end":
            return ends_last
        # Media times have milliseconds; their difference has more digits.
        is_spaced = last is None or ends_last or round(event.start_s - last.start_s, 3) >= self._cooldown_s
        return is_spaced and self._wanted.passes(event)

    def _bound(self) -> None:
        if len(self.actions) > MAX_REMEMBERED:
            over = (key for key, action in self.actions.items() if not action.is_open)
            del self.actions[next(over, next(iter(self.actions)))]


def _key(session_id: str, region: str | None, label: str) -> str:
    """Where the last action is remembered."""
    return "\n".join((session_id, region or "", label))
