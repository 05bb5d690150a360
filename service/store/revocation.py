"""Revokes an API key and ends everything that it started, so that its holder receives nothing more."""

from contextlib import suppress
from datetime import datetime

from service.access.keys import ApiKey
from service.access.sight import Sight
from service.errors import NotFoundError
from service.schemas import ENDED_STATES
from service.store.protocols import Store
from service.store.records import SessionRecord

PAGE = 200


async def revoke_key(
    store: Store, id_or_name: str, *, now: datetime, keep_sessions: bool = False
) -> tuple[ApiKey, list[SessionRecord]]:
    """Revoke a key, disable its subscriptions and the webhooks of its sessions and stop those that have not ended.

    Idempotent by id, so a call that failed half-way can be repeated.

    Returns:
        The key, and the sessions that were asked to stop, those without a worker in the state `stopped`.

    Raises:
        NotFoundError: No key has this id, and no active key has this name.
    """
    key = await store.keys.revoke(id_or_name, now=now)
    return key, [] if keep_sessions else await end_all_of(store, key.id)


async def end_all_of(store: Store, key_id: str) -> list[SessionRecord]:
    """Disable a key's subscriptions and webhooks, and stop its sessions; return those that were asked to stop."""
    await store.outbox.disable_all_of(key_id)
    await store.subscriptions.disable_all_of(key_id)
    stopped: list[SessionRecord] = []
    before: str | None = None
    while True:
        page, before = await store.sessions.page(limit=PAGE, before=before, sight=Sight(owner=key_id))
        for session in page:
            if session.state not in ENDED_STATES:
                # It may have ended and been deleted since the page was read.
                with suppress(NotFoundError):
                    stopped.append(await store.sessions.request_stop(session.id))
        if before is None:
            return stopped
