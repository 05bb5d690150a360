"""HTTP to addresses that the policy permits: names are resolved here, and the judged address is connected to."""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

import certifi
import httpcore
from httpcore import AsyncNetworkBackend, AsyncNetworkStream

from service.confinement.address_policy import AddressPolicy
from service.sources import FORBIDDEN_ADDRESS, SourceForbidden

MAX_CONNECTIONS = 16


class PolicyBackend(AsyncNetworkBackend):
    """Connections of httpcore, judged one by one."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        """Raises SourceForbidden, ConnectError, ConnectTimeout."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = dict.fromkeys(ip_address(address[0]) for *_, address in found)
        permitted = [address for address in addresses if self._policy.permits_source(address)]
        if not permitted:
            raise SourceForbidden(FORBIDDEN_ADDRESS)
        return await self._plain.connect_tcp(str(permitted[0]), port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_arguments: Any, **_options: Any) -> AsyncNetworkStream:
        raise SourceForbidden(FORBIDDEN_ADDRESS)

    async def sleep(self, seconds: float) -> None:
        await self._plain.sleep(seconds)


def open_pool(policy: AddressPolicy) -> httpcore.AsyncConnectionPool:
    """Follows no redirect and uses no proxy. An async context manager."""
    return httpcore.AsyncConnectionPool(
        ssl_context=ssl.create_default_context(cafile=certifi.where()),
        max_connections=MAX_CONNECTIONS,
        keepalive_expiry=30.0,
        network_backend=PolicyBackend(policy),
    )
