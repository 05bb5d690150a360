"""A client for whatever a `redis` URL names: one server, a Sentinel's primary, or a cluster."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError  # noqa: A004 - the name that redis gives it

Client = Redis | RedisCluster

SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
CONNECT_WITHIN_S = 2.0
ANSWER_WITHIN_S = 3.0
PORT, SENTINEL_PORT = 6379, 26379
MAX_CONNECTIONS = 64
# A command that fails is not sent again: not every one may run twice.
_LIMITS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_WITHIN_S,
    "socket_timeout": ANSWER_WITHIN_S,
    "socket_keepalive": True,
    "health_check_interval": 15,
    "retry": Retry(NoBackoff(), 0),
}


class _Checked(Connection):
    """redis-py sees that an idle connection was ended, but not that it was reset, and would fail the next command."""

    async def can_read(self) -> bool:
        if self._writer is not None and self._writer.is_closing():
            raise ConnectionError("The connection was reset.")
        return await super().can_read()


class _CheckedTls(_Checked, SSLConnection):
    """Over TLS."""


@dataclass(frozen=True)
class Connected:
    """A client, and the Sentinels that it asks."""

    client: Client
    sentinels: tuple[Redis, ...] = ()

    async def aclose(self) -> None:
        for client in (self.client, *self.sentinels):
            await client.aclose()


def connect(url: str) -> Connected:
    """Nothing is opened yet. Raises ValueError for an address that it does not understand.

    `redis://[user:password@]host[:port][/db]`; `rediss` for TLS, with `?ca=FILE` for an authority of one's own;
    `redis+sentinel://[user:password@]host:port,host:port/NAME[/db]`; `redis+cluster://[user:password@]host:port,…`.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"the scheme {parts.scheme!r} is none of {', '.join(SCHEMES)}")
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
            raise ValueError("a Sentinel's address ends with the name of its primary, as in …:26379/mymaster")
        # Sentinels have no users of the database.
        sentinel_options = {**_LIMITS, **tls, "ssl": bool(tls)}
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            hosts, sentinel_kwargs=sentinel_options, db=_db(path[1:]), ssl=bool(tls), **options
        )
        return Connected(sentinel.master_for(path[0]), tuple(sentinel.sentinels))
    host, port = hosts[0]
    pool = BlockingConnectionPool(
        max_connections=MAX_CONNECTIONS,
        timeout=ANSWER_WITHIN_S,
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
            raise ValueError("the address names no host")
        hosts.append((address.hostname, address.port or default_port))
    return hosts


def _login(parts: SplitResult) -> dict[str, str]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    given = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in given.items() if value}


def _tls(parts: SplitResult, *, is_tls: bool) -> dict[str, Any]:
    """Empty for a connection without it."""
    query = dict(parse_qsl(parts.query))
    if query.keys() - {"ca"} or (query and not is_tls):
        raise ValueError("its query may hold `ca` alone, and that with TLS (rediss)")
    if not is_tls:
        return {}
    own = {"ssl_ca_certs": query["ca"]} if query else {}
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **own}


def _db(path: list[str]) -> int:
    if not path:
        return 0
    if len(path) > 1 or not path[0].isdecimal():
        raise ValueError("what follows the host is the number of a database")
    return int(path[0])
