"""Fails sessions whose model no worker has had for a long time, and says why other sessions wait."""

import time
import uuid
from collections.abc import Iterable, Set
from datetime import UTC, datetime

import structlog

from service.api.unowned import keys_of_loaded_models, reason_to_wait
from service.errors import ServiceError
from service.schemas import ENDED_STATES, SESSION_STATES
from service.server_schemas import ModelInfo
from service.store.protocols import Store
from service.store.records import SessionRecord, SessionUpdate, state_event
from service.store.state_log import log_state
from service.store.worker_records import LeaseLostError, WorkerInfo

CHECK_EVERY_S = 30.0
GRACE_S = 600.0
"""How long a model may be missing while its workers restart."""
PAGE = 200
_log = structlog.get_logger(__name__)


class UnservedSessions:
    """Looks for unserved sessions of all servers of a store; several servers may do so at the same time."""

    def __init__(self, store: Store, *, grace_s: float = GRACE_S) -> None:
        self._store = store
        self._grace_s = grace_s
        self._missing_since_s: dict[str, float] = {}

    async def check(self, now_s: float | None = None) -> float:
        """Fail the sessions whose model has been missing for the grace period; return the seconds until the next check.

        Without any live worker no session fails: the deployment is restarting. Raises ServiceError.
        """
        now_s = time.monotonic() if now_s is None else now_s
        loaded = await keys_of_loaded_models(self._store)
        if loaded is None:
            return CHECK_EVERY_S
        unended = list(await self._unended())
        missing = {record.model_key for record in unended} - loaded
        self._missing_since_s = {model: self._missing_since_s.get(model, now_s) for model in missing}
        for model, since_s in self._missing_since_s.items():
            if now_s - since_s >= self._grace_s:
                await self._fail_all(model)
        await self._explain(unended, loaded)
        return CHECK_EVERY_S

    async def _explain(self, unended: Iterable[SessionRecord], loaded: Set[str]) -> None:
        """State in waiting sessions which model is missing, and remove that once it is loaded."""
        for record in unended:
            detail = reason_to_wait(record, loaded)
            is_told = record.detail is not None
            if record.state == "queued" and record.detail != detail and (is_told or record.model_key not in loaded):
                await self._store.sessions.requeue(record.id, detail)

    async def _unended(self) -> Iterable[SessionRecord]:
        found: list[SessionRecord] = []
        for state in SESSION_STATES:
            cursor: str | None = None
            while state not in ENDED_STATES:
                page, cursor = await self._store.sessions.page(limit=PAGE, before=cursor, state=state)
                found += page
                if cursor is None:
                    break
        return found

    async def _fail_all(self, model: str) -> None:
        """Claim each session as a worker of the model would, which keeps two servers from failing it twice."""
        info = ModelInfo(name=model, version="", labels=[], sample_hz=0.0, image_size=0)
        claimant = WorkerInfo(f"unserved-{uuid.uuid4().hex[:8]}", 0.0, (info,))
        await self._store.workers.register(claimant)
        try:
            while (record := await self._store.workers.claim(claimant.id)) is not None:
                await self._fail(record)
        finally:
            await self._store.workers.release(claimant.id)

    async def _fail(self, record: SessionRecord) -> None:
        now = datetime.now(UTC)
        detail = f"No worker has the model {record.model!r} any more. Submit the session again with another model."
        event = state_event(record, "failed", time=now, code="model_unavailable", detail=detail)
        update = SessionUpdate(state="failed", code="model_unavailable", detail=detail, ended_at=now)
        try:
            await self._store.log.commit(record.id, record.token, events=[event], update=update)
        except LeaseLostError:
            return
        except ServiceError as error:
            # Continue with the others: this one stays claimed until all have failed, and the next check tries it again.
            _log.warning("session not ended", session=record.id, error=error.detail)
            return
        log_state(record.model_copy(update=update.model_dump(exclude_unset=True)))
