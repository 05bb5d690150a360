"""A program that is killed at its n-th call into the store or the storage, for n = 1, 2, … until it is not reached.

Arguments: what to do (`delete` or `submit`), the data folder and the bucket's URL (empty for none). For each line on
stdin, the id of a session, it prints `killed` or `finished`.
"""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from service.storage.blobs import Blobs
from service.storage.deletion import delete_session
from service.store import open_store
from service.store.protocols import Store
from tests.support.store_kit import record

COUNTED = ("/service/store/", "/service/storage/")


def kill_at_call(number: int) -> None:
    """From now on the n-th call kills this process."""
    calls = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        if event == "call" and any(folder in frame.f_code.co_filename for folder in COUNTED):
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(count)
    sys.setprofile(count)


async def submit(store: Store, blobs: Blobs, session_id: str) -> None:
    blobs.arriving_path(session_id).write_bytes(b"video")
    await blobs.keep_upload(session_id)
    await store.sessions.create(record().model_copy(update={"id": session_id}), max_queued=1000, may_wait=True)


async def work(action: str, folder: Path, url: str | None, session_id: str, number: int) -> None:
    kill_at_call(number)
    store, blobs = open_store(f"sqlite://{folder / 'cake.db'}"), Blobs(url, folder)
    if action == "delete":
        await delete_session(store.sessions, blobs, session_id)
    else:
        await submit(store, blobs, session_id)
    await store.close()


def main() -> None:
    action, folder, url = sys.argv[1:]
    for number, line in enumerate(sys.stdin, start=1):
        pid = os.fork()
        if pid == 0:
            asyncio.run(work(action, Path(folder), url or None, line.strip(), number))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert status in (0, signal.SIGKILL), status
        sys.stdout.write("finished\n" if status == 0 else "killed\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
