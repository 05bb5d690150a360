"""Which webhooks may be delivered at a time, so that hanging receivers do not take the place of others."""

from collections import Counter as Tally

from service.store.webhook_records import Webhook

MAX_LANES, MAX_LANES_PER_OWNER, MAX_LANES_PER_RECEIVER = 256, 16, 8
"""Lanes in all and for each API key, without those that hang, and for each receiver, with them."""
MAX_HANGING, MAX_HANGING_PER_OWNER = 256, 64
"""Lanes that hang, in all and for each API key. Beyond that the attempt that has hung for the longest fails."""


class Lanes:
    """The open lanes, at most one for each session. Pure bookkeeping: the caller runs the deliveries.

    A lane whose receiver has not answered for a while hangs: another may be opened in its place.
    """

    def __init__(self) -> None:
        self._open: dict[str, Webhook] = {}
        self._hanging: dict[str, Webhook] = {}
        """By session, the longest first."""
        self._owners: Tally[str | None] = Tally()
        self._hanging_owners: Tally[str | None] = Tally()
        self._receivers: Tally[str] = Tally()

    @property
    def room(self) -> int:
        """How many more lanes may be opened."""
        return max(0, MAX_LANES - (len(self._open) - len(self._hanging)))

    @property
    def sessions(self) -> list[str]:
        """Those with a lane."""
        return list(self._open)

    @property
    def full_owners(self) -> list[str]:
        """API keys for whose webhooks no lane may be opened."""
        return [owner for owner in self._owners if owner is not None and self._is_full(owner)]

    @property
    def full_receivers(self) -> list[str]:
        """Receivers to which no lane may be opened."""
        return [receiver for receiver, lanes in self._receivers.items() if lanes >= MAX_LANES_PER_RECEIVER]

    def has_room_for(self, webhook: Webhook) -> bool:
        """Whether a lane may be opened for a webhook that has none."""
        has_place = self._receivers[webhook.receiver] < MAX_LANES_PER_RECEIVER
        return self.room > 0 and has_place and not self._is_full(webhook.owner)

    def open(self, webhook: Webhook) -> None:
        """Open a lane."""
        self._open[webhook.session_id] = webhook
        self._owners[webhook.owner] += 1
        self._receivers[webhook.receiver] += 1

    def close(self, session_id: str) -> None:
        """Close a lane."""
        self.answered(session_id)
        webhook = self._open.pop(session_id)
        self._owners[webhook.owner] -= 1
        self._receivers[webhook.receiver] -= 1
        # Counts of 0 are dropped: receivers are many.
        self._owners, self._receivers = +self._owners, +self._receivers

    def hangs(self, session_id: str) -> str | None:
        """Mark a lane as hanging. Returns the session of a hanging lane that has to give up its attempt, if any."""
        webhook = self._open[session_id]
        self._hanging[session_id] = webhook
        self._hanging_owners[webhook.owner] += 1
        given_up = None
        if webhook.owner is not None and self._hanging_owners[webhook.owner] > MAX_HANGING_PER_OWNER:
            given_up = next(each for each, hanging in self._hanging.items() if hanging.owner == webhook.owner)
        elif len(self._hanging) > MAX_HANGING:
            given_up = next(iter(self._hanging))
        if given_up is not None:
            self.answered(given_up)
        return given_up

    def answered(self, session_id: str) -> None:
        """Mark a lane as no longer hanging."""
        webhook = self._hanging.pop(session_id, None)
        if webhook is not None:
            self._hanging_owners[webhook.owner] -= 1
            self._hanging_owners = +self._hanging_owners

    def _is_full(self, owner: str | None) -> bool:
        return owner is not None and self._owners[owner] - self._hanging_owners[owner] >= MAX_LANES_PER_OWNER
