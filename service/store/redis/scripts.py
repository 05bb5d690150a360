"""Runs the Lua scripts in `lua/`. Each is one atomic step of the store."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from service.errors import StoreUnavailableError
from service.store.reading import Reader
from service.store.redis.connect import Client
from service.store.redis.records import Argument
from service.store.redis.replication import CONFIRM_TIMEOUT_S, Replication
from service.store.redis.replies import translated
from service.store.redis.required_settings import warn_of_settings

PREFIX = "{cake}"
"""Prefix of every key; the braces keep all of them on one node of a cluster, as scripts need."""

FORMAT = 1
"""Format of all data in Redis. Incremented only by changes that older versions cannot work with: they refuse to
start.
"""

CONFIRMED = frozenset(
    {
        "confirm",
        "create",
        "commit",
        "end",
        "claim",
        "stop",
        "change",
        "delete",
        "add_key",
        "admit_key",
        "change_key",
        "revoke_key",
        "add_subscription",
        "change_subscription",
        "replace_subscription",
        "delete_subscription",
        "put_feedback",
        "delete_feedback",
        "redeliver",
        "rotate_secret",
        "disable_webhooks",
        "disable_subscriptions",
        "put_model",
        "delete_models",
    }
)
"""Scripts whose writes replicas must confirm where there is a Sentinel: callers repeat them, so nothing is lost."""

ESSENTIAL = frozenset(
    {
        "announce",
        "confirm",
        "delete",
        "delete_feedback",
        "delete_models",
        "disable_webhooks",
        "end",
        "register",
        "release",
        "renew",
        "revoke_key",
        "stop",
        "unclaim",
    }
)
"""Scripts that run although Redis is out of memory: small writes that free memory or keep sessions where they are."""
ALLOW_OOM = "#!lua flags=allow-oom\n"
USES = re.compile(r"-- uses ([\w ]+)\n")
"""The first line of a script: the parts, of `lua/parts/`, whose functions it uses."""


def name_of(*parts: str) -> str:
    """The full name of a key."""
    return ":".join((PREFIX, *parts))


@cache
def _text(name: str) -> str:
    folder = files("service.store.redis") / "lua"
    script = (folder / f"{name}.lua").read_text()
    # Each function that a script defines takes time at each run, so scripts name the ones that they use.
    used = USES.match(script)
    parts = [] if used is None else [(folder / "parts" / f"{part}.lua").read_text() for part in used[1].split()]
    text = "\n".join([(folder / "common.lua").read_text(), *parts, script])
    return ALLOW_OOM + text if name in ESSENTIAL else text


class Scripts:
    """The scripts on one client.

    Leases are timed by Redis's own clock, the same for all; `clock`, in seconds, replaces it in tests.
    """

    def __init__(
        self,
        client: Client,
        clock: Callable[[], float] | None = None,
        reader: Reader | None = None,
        replication: Replication | None = None,
    ) -> None:
        self.client = client
        self._replication = replication
        self.reader = reader or Reader()
        self._has_checked_format = False
        self._has_warned = False
        self._primary: tuple[str, int] | None = None
        self._confirmed = 0
        self._clock = clock
        self._scripts: dict[str, Any] = {}

    @property
    def now(self) -> Argument:
        """The argument `now` of scripts; "" means Redis's own clock."""
        return "" if self._clock is None else self._clock()

    async def run(self, name: str, *arguments: Argument) -> Any:
        """The result of the script `name`. Raises StoreUnavailableError, StorageFullError."""
        if not self._has_checked_format:
            await self._check_format()
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self.client.register_script(_text(name))
        if self._replication is None:
            return await translated(script(keys=[PREFIX], args=arguments))
        required = await self._required(self._replication)
        return await self._run_confirmed(script, arguments, required if name in CONFIRMED else 0)

    async def require_confirmed(self, stream: Sequence[str], entry_id: bytes, cursor: int) -> None:
        """Return once replicas have an entry that was read, with the cursor of its commit, and so everything before it.

        A failover loses other entries, and then their commits are repeated. Raises StoreUnavailableError.
        """
        if self._replication is None or cursor <= self._confirmed:
            return
        if not await self.run("confirm", ":".join(stream), entry_id, cursor):
            raise StoreUnavailableError("Redis is changing its primary, which lacks the newest events. Retry.")
        self._confirmed = max(self._confirmed, cursor)

    async def _required(self, replication: Replication) -> int:
        """Replicas that must confirm a write. Raises StoreUnavailableError."""
        required = await replication.required()
        if replication.primary != self._primary:
            self._primary = replication.primary
            await warn_of_settings(self.client, has_replicas=True)
        return required

    async def _run_confirmed(self, script: Any, arguments: tuple[Argument, ...], required: int) -> Any:
        """Run a script, and raise StoreUnavailableError unless this many replicas have confirmed its writes."""
        async with self.client.pipeline(transaction=False) as pipe:
            await script(keys=[PREFIX], args=arguments, client=pipe)
            if required:
                pipe.wait(required, round(CONFIRM_TIMEOUT_S * 1000))
            result, *confirmed = await translated(pipe.execute())
        if confirmed and confirmed[0] < required:
            raise StoreUnavailableError("Redis is changing its primary: replicas did not confirm a write. Retry.")
        return result

    async def _check_format(self) -> None:
        """Mark an empty Redis with the format of its data, and refuse data of a newer format."""
        await translated(self.client.set(name_of("format"), FORMAT, nx=True))
        found = await translated(self.client.get(name_of("format")))
        if int(found) > FORMAT:
            raise StoreUnavailableError(
                f"The data in Redis has format {int(found)} but this CAKE supports {FORMAT}. Install a newer CAKE."
            )
        # Many tasks come here at the same time when a server starts.
        if self._replication is None and not self._has_warned:
            self._has_warned = True
            await warn_of_settings(self.client, has_replicas=False)
        self._has_checked_format = True
