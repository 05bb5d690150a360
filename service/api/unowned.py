"""Returns sessions that have lost their worker to the queue, so that none stays `running` without one."""

import time
from collections.abc import Set

import structlog

from service.errors import NotFoundError, ServiceError
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.state_log import log_state

CHECK_EVERY_S = 5.0
PATIENCE_S = 10.0
"""How long a session may be without a worker while another takes over."""
_log = structlog.get_logger(__name__)


def reason_to_wait(record: SessionRecord, loaded: Set[str] | None) -> str:
    """Why no worker has the session. `loaded` are the keys of the loaded models, None without workers."""
    if loaded is None:
        return "No worker is running. The session continues when one does."
    if record.model_key not in loaded:
        return (
            f"No worker has the model {record.model!r}. The session continues when one has, or fails after 10 minutes."
        )
    return "No worker has room for the session. It continues when one has."


async def keys_of_loaded_models(store: Store) -> Set[str] | None:
    """Keys of the models that live workers have loaded; None without live workers. Raises ServiceError."""
    live = await store.workers.live()
    return {model.name for worker in live for model in worker.models} if live else None


class UnownedSessions:
    """Looks for such sessions of all servers of a store; several servers may do so at the same time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unowned_since_s: dict[str, float] = {}

    async def check(self, now_s: float | None = None) -> float:
        """Queue those that have been without a worker for PATIENCE_S; return the seconds until the next check.

        Raises ServiceError.
        """
        now_s = time.monotonic() if now_s is None else now_s
        unowned = await self._store.sessions.unowned()
        self._unowned_since_s = {one: self._unowned_since_s.get(one, now_s) for one in unowned}
        late = [one for one, since_s in self._unowned_since_s.items() if now_s - since_s >= PATIENCE_S]
        if late:
            loaded = await keys_of_loaded_models(self._store)
            for session_id in late:
                await self._requeue(session_id, loaded)
        return CHECK_EVERY_S

    async def _requeue(self, session_id: str, loaded: Set[str] | None) -> None:
        try:
            record = await self._store.sessions.get(session_id)
            detail = reason_to_wait(record, loaded)
            if await self._store.sessions.requeue(session_id, detail):
                log_state(record.model_copy(update={"state": "queued", "code": None, "detail": detail}))
        except NotFoundError:
            return
        except ServiceError as error:
            # Continue with the others; the next check tries this one again.
            _log.warning("session not queued again", session=session_id, error=error.detail)
