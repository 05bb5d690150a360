"""A worker process that claims sessions and ends them when they are asked to stop; it decodes nothing.

It exits when its standard input ends, as its server does.
"""

import asyncio
import os
import threading
from datetime import UTC, datetime

from service.errors import ServiceError
from service.settings import Settings
from service.store import open_store
from service.store.protocols import Store
from service.store.records import SessionRecord, SessionUpdate, state_event
from service.store.worker_records import WorkerInfo
from tests.support.store_kit import MODEL


async def enter_state(store: Store, record: SessionRecord, update: SessionUpdate) -> None:
    assert update.state is not None
    event = state_event(record, update.state, time=datetime.now(UTC))
    await store.log.commit(record.id, record.token, events=[event], update=update)


def exit_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


async def main() -> None:
    threading.Thread(target=exit_with_input, daemon=True).start()
    store = open_store(Settings().resolved_store_url)
    await store.workers.register(WorkerInfo("w1", 1000.0, (MODEL,)))
    while True:
        for session_id in (await store.workers.renew("w1")).stop_requested:
            session = await store.sessions.get(session_id)
            await enter_state(store, session, SessionUpdate(state="stopped", ended_at=datetime.now(UTC)))
        try:
            if (claimed := await store.workers.claim("w1")) is not None:
                await enter_state(store, claimed, SessionUpdate(state="running"))
        except ServiceError:
            pass
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main())
