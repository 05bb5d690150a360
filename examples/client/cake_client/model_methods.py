"""`client.models`: the methods of both clients that list, upload, compare and promote the models of a server."""

import asyncio
from collections.abc import Awaitable, Callable
from os import PathLike

from cake_client import served_models as calls
from cake_client.calls import Call
from cake_client.models import Session, parse
from cake_client.served_models import ModelDetail, ModelList, ShadowDifference


class Models:
    """Methods raise the same errors as those of `Client`. All except `all`, `get` and `shadow` need a key with the
    scope `admin`.
    """

    def __init__(self, send: Callable[[Call], bytes]) -> None:
        self._send = send

    def all(self) -> ModelList:
        """The models that sessions can use."""
        return parse(ModelList, self._send(calls.listed()))

    def get(self, name: str) -> ModelDetail:
        """A model, its card, its shadow, and whether each worker has loaded it."""
        return parse(ModelDetail, self._send(calls.model(name)))

    def push(self, name: str, checkpoint: str | PathLike[str], *, shadow: bool = False) -> ModelDetail:
        """Upload a checkpoint folder or an archive of one, or let the server read a folder of its bucket for models, as
        `s3://BUCKET/FOLDER`. New sessions use it once a worker has loaded it.

        `shadow`: it only follows live sessions, until it is promoted. Also raises OSError when it cannot be read.
        """
        return parse(ModelDetail, self._send(calls.pushed(name, checkpoint, shadow=shadow)))

    def remove(self, name: str) -> None:
        """Delete an uploaded model with all its versions, which no session may use."""
        self._send(calls.removed(name))

    def shadow(self, name: str) -> ShadowDifference:
        """What the shadow version of a model finds, compared with what is published."""
        return parse(ShadowDifference, self._send(calls.shadow(name)))

    def remove_shadow(self, name: str) -> None:
        """Delete the shadow version of a model and what it found."""
        self._send(calls.shadow_removed(name))

    def promote(self, name: str) -> ModelDetail:
        """Let new sessions use the shadow version; those that run keep theirs until `move`."""
        return parse(ModelDetail, self._send(calls.promoted(name)))

    def move(self, session_id: str) -> Session:
        """Run a session on the newest version of its model. Raises ApiError `not_ready` until its worker has it."""
        return parse(Session, self._send(calls.moved(session_id)))


class AsyncModels:
    """The same methods as coroutines."""

    def __init__(self, send: Callable[[Call], Awaitable[bytes]]) -> None:
        self._send = send

    async def all(self) -> ModelList:
        """The models that sessions can use."""
        return parse(ModelList, await self._send(calls.listed()))

    async def get(self, name: str) -> ModelDetail:
        """A model, its card, its shadow, and whether each worker has loaded it."""
        return parse(ModelDetail, await self._send(calls.model(name)))

    async def push(self, name: str, checkpoint: str | PathLike[str], *, shadow: bool = False) -> ModelDetail:
        """Upload a checkpoint folder or an archive of one, or let the server read a folder of its bucket for models, as
        `s3://BUCKET/FOLDER`. New sessions use it once a worker has loaded it.

        `shadow`: it only follows live sessions, until it is promoted. Also raises OSError when it cannot be read.
        """
        call = await asyncio.to_thread(calls.pushed, name, checkpoint, shadow=shadow)
        return parse(ModelDetail, await self._send(call))

    async def remove(self, name: str) -> None:
        """Delete an uploaded model with all its versions, which no session may use."""
        await self._send(calls.removed(name))

    async def shadow(self, name: str) -> ShadowDifference:
        """What the shadow version of a model finds, compared with what is published."""
        return parse(ShadowDifference, await self._send(calls.shadow(name)))

    async def remove_shadow(self, name: str) -> None:
        """Delete the shadow version of a model and what it found."""
        await self._send(calls.shadow_removed(name))

    async def promote(self, name: str) -> ModelDetail:
        """Let new sessions use the shadow version; those that run keep theirs until `move`."""
        return parse(ModelDetail, await self._send(calls.promoted(name)))

    async def move(self, session_id: str) -> Session:
        """Run a session on the newest version of its model. Raises ApiError `not_ready` until its worker has it."""
        return parse(Session, await self._send(calls.moved(session_id)))
