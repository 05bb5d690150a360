"""A Redis stream as a target: one entry for each event, at an address that the policy permits."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import certifi
from redis.asyncio import Connection, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service.event_schemas import Event
from service.sources.address_policy import AddressPolicy
from service.sources.resolution import permitted_addresses
from service.sources.sources import SourceForbiddenError
from service.store.subscription_records import StoredRedisTarget
from service.subscriptions.target import DeliveryFailedError, TargetMessage, Trial, event_message, trial_message

PORT = 6379
CONNECT_TIMEOUT_S, TIMEOUT_S = 5.0, 10.0


class RedisStreamTarget:
    """Implements `service.subscriptions.target.Target`. One entry is added at a time, and so in order."""

    def __init__(self, stored: StoredRedisTarget, client: Redis) -> None:
        self._stored = stored
        self._client = client

    async def deliver(self, event: Event) -> None:
        await self._add(event_message(event))

    async def test(self, trial: Trial) -> None:
        """Add an entry of the type `subscription.test`. Raises DeliveryFailedError."""
        await self._add(trial_message(trial))

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def _add(self, message: TargetMessage) -> None:
        fields = {"id": message.id, "type": message.type, "source": message.source, "data": message.body}
        if message.traceparent is not None:
            fields["traceparent"] = message.traceparent
        try:
            # The name differs from the type that redis-py states, which allows neither bytes nor plain dicts.
            added: Mapping[Any, Any] = fields
            await self._client.xadd(self._stored.stream, dict(added), maxlen=self._stored.max_entries, approximate=True)
        except (RedisError, OSError) as error:
            raise _failed(error) from error


@asynccontextmanager
async def opened(
    stored: StoredRedisTarget, policy: AddressPolicy, authorities: Path | None
) -> AsyncIterator[RedisStreamTarget]:
    """Connect to `redis://` or, with TLS, `rediss://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`.

    Args:
        authorities: A PEM file of certificates to trust beyond the public authorities.

    Raises:
        DeliveryFailedError: Redis cannot be reached, is not trusted, or refuses the connection.
    """
    parts = urlsplit(stored.url.get_secret_value())
    host, port = parts.hostname or "", parts.port or PORT
    try:
        addresses = await permitted_addresses(host, port, policy)
    except SourceForbiddenError as error:
        raise DeliveryFailedError(error.code) from error
    except OSError as error:
        raise _failed(error) from error
    options: dict[str, Any] = {
        "port": port,
        "db": int(parts.path.strip("/") or 0),
        "username": None if not parts.username else unquote(parts.username),
        "password": None if parts.password is None else unquote(parts.password),
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": TIMEOUT_S,
        # The outbox repeats what failed.
        "retry": Retry(NoBackoff(), 0),
    }
    if parts.scheme == "rediss":
        options |= {"context": await asyncio.to_thread(_tls_context, authorities), "server_name": host}
    failure: DeliveryFailedError | None = None
    for address in addresses:
        connection_class = _Named if parts.scheme == "rediss" else Connection
        pool = ConnectionPool(connection_class, max_connections=1, host=str(address), **options)
        async with Redis.from_pool(pool) as client:
            try:
                await client.ping()
            except (RedisError, OSError) as error:
                failure = _failed(error)
                continue
            yield RedisStreamTarget(stored, client)
        return
    assert failure is not None
    raise failure


class _Named(Connection):
    """With TLS; checks the certificate for a name although an address, the judged one, is connected to."""

    def __init__(self, *, context: ssl.SSLContext, server_name: str, **options: Any) -> None:
        super().__init__(**options)
        self._tls = {"ssl": context, "server_hostname": server_name}

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), **self._tls}


def _tls_context(authorities: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    if authorities is not None:
        context.load_verify_locations(cafile=authorities)
    return context


def _failed(error: Exception) -> DeliveryFailedError:
    return DeliveryFailedError(": ".join(filter(None, (type(error).__name__, str(error)))))
