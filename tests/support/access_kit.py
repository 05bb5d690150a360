"""Helpers for the tests of keys and tickets."""

import itertools
from datetime import UTC, datetime

from service.access.keys import Limits, new_key
from service.access.scopes import Scope
from tests.support.running_server import Running

LIMITS = Limits(max_sessions=10, requests_per_s=1000, max_stored_bytes=10**9)
numbers = itertools.count()


async def make_key(server: Running, *scopes: str, name: str | None = None, limits: Limits = LIMITS) -> str:
    """A new key of the server's store, as its holder has it."""
    shown, key = new_key(name or f"key {next(numbers)}", map(Scope, scopes), limits, created_at=datetime.now(UTC))
    await server.worker.store.keys.create(key)
    return shown


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
