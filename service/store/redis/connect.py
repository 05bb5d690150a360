"""The client for a Redis URL: one server, a Sentinel's primary, or a cluster."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError  # noqa: A004 - the name that redis gives it
from redis.maint_notifications import MaintNotificationsConfig

from service.store.redis.sentinels import Sentinels
from service.store_url import REDIS_SCHEMES

Client = Redis | RedisCluster

CONNECT_TIMEOUT_S = 2.0
REPLY_TIMEOUT_S = 3.0
PORT, SENTINEL_PORT = 6379, 26379
MAX_CONNECTIONS = 64
# Failed commands are not sent again: not every command may run twice.
_LIMITS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": REPLY_TIMEOUT_S,
    "socket_keepalive": True,
    "health_check_interval": 15,
    "retry": Retry(NoBackoff(), 0),
    # With these notifications, redis-py sends commands over idle connections that Redis has closed.
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}


class _Checked(Connection):
    """Detects idle connections that were reset; redis-py detects only closed ones, so the next command would fail.

    When the primary changes, connections are closed while other tasks use them: their commands fail as those of lost
    connections, where redis-py raises AttributeError.
    """

    async def can_read(self) -> bool:
        if self._writer is not None and self._writer.is_closing():
            raise ConnectionError("The connection was reset.")
        return await super().can_read()

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        if self._writer is None:
            raise ConnectionError("The connection was closed.")
        await super()._send_packed_command(command)


class _CheckedTls(_Checked, SSLConnection):
    """The same over TLS."""


class _ToPrimary(_Checked, SentinelManagedConnection):
    """The same to the primary of a Sentinel."""


class _ToPrimaryTls(_Checked, SentinelManagedSSLConnection):
    """The same to the primary of a Sentinel over TLS."""


@dataclass(frozen=True)
class Connected:
    """A client, and the Sentinels that tell it the primary, if any."""

    client: Client
    sentinels: Sentinels | None = None

    async def aclose(self) -> None:
        """Close the connections to Redis and to the Sentinels."""
        await self.client.aclose()
        if self.sentinels is not None:
            await self.sentinels.aclose()


def connect(url: str) -> Connected:
    """A client that connects on first use.

    Raises:
        ValueError: The URL is not a valid address.

    Forms of `url`:
        `redis://[user:password@]host[:port][/db]`; `rediss` for TLS, with `?ca=FILE` for a private authority.
        `redis+sentinel://[user:password@]host:port,host:port/NAME[/db]`
        `redis+cluster://[user:password@]host:port,…`
    """
    parts = urlsplit(url)
    if parts.scheme not in REDIS_SCHEMES:
        raise ValueError(f"the scheme must be one of {', '.join(REDIS_SCHEMES)}, not {parts.scheme!r}")
    base, _, kind = parts.scheme.partition("+")
    hosts = _hosts(parts, SENTINEL_PORT if kind == "sentinel" else PORT)
    tls = _tls(parts, is_tls=base == "rediss")
    options = {**_LIMITS, **_login(parts), **tls}
    path = [part for part in parts.path.split("/") if part]
    if kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in hosts]
        return Connected(RedisCluster(startup_nodes=nodes, ssl=bool(tls), **options))
    if kind == "sentinel":
        if not path:
            raise ValueError("a Sentinel address must end with the name of the primary, as in …:26379/mymaster")
        # The database's user and password do not apply to Sentinels.
        sentinel_options = {**_LIMITS, **tls, "ssl": bool(tls)}
        sentinels = Sentinels(
            hosts, path[0], sentinel_kwargs=sentinel_options, db=_db(path[1:]), ssl=bool(tls), **options
        )
        primary = sentinels.master_for(path[0], connection_class=_ToPrimaryTls if tls else _ToPrimary)
        return Connected(primary, sentinels)
    host, port = hosts[0]
    pool = BlockingConnectionPool(
        max_connections=MAX_CONNECTIONS,
        timeout=REPLY_TIMEOUT_S,
        connection_class=_CheckedTls if tls else _Checked,
        host=host,
        port=port,
        db=_db(path),
        **options,
    )
    return Connected(Redis.from_pool(pool))


def _hosts(parts: SplitResult, default_port: int) -> list[tuple[str, int]]:
    hosts = []
    for one in parts.netloc.rpartition("@")[2].split(","):
        address = urlsplit(f"//{one}")
        if not address.hostname:
            raise ValueError("the address has no host")
        hosts.append((address.hostname, address.port or default_port))
    return hosts


def _login(parts: SplitResult) -> dict[str, str]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    given = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in given.items() if value}


def _tls(parts: SplitResult, *, is_tls: bool) -> dict[str, Any]:
    """TLS options of a connection; empty without TLS."""
    query = dict(parse_qsl(parts.query))
    if query.keys() - {"ca"} or (query and not is_tls):
        raise ValueError("the only query parameter is `ca`, and it needs TLS (rediss)")
    if not is_tls:
        return {}
    own = {"ssl_ca_certs": query["ca"]} if query else {}
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **own}


def _db(path: list[str]) -> int:
    if not path:
        return 0
    if len(path) > 1 or not path[0].isdecimal():
        raise ValueError("the path must be a database number")
    return int(path[0])
