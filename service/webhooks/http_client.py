"""HTTP to addresses that the policy permits: names are resolved here, and the judged address is connected to."""

import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import certifi
import httpcore
from httpcore import AsyncNetworkBackend, AsyncNetworkStream

from service.sources.address_policy import AddressPolicy, IPAddress
from service.sources.resolution import permitted_addresses
from service.sources.sources import FORBIDDEN_ADDRESS, SourceForbiddenError


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
        """Raises SourceForbiddenError, ConnectError, ConnectTimeout."""
        try:
            permitted = await permitted_addresses(host, port, self._policy)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return await self.connect_to_first(permitted, port, timeout, local_address, socket_options)

    async def connect_to_first(
        self,
        addresses: Sequence[IPAddress],
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first address that answers. Each gets a share of the time, so that a dead one leaves time for
        others.
        """
        share_s = None if timeout is None else timeout / len(addresses)
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._plain.connect_tcp(str(address), port, share_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def connect_unix_socket(self, *_arguments: Any, **_options: Any) -> AsyncNetworkStream:
        """Raises SourceForbiddenError: receivers have network addresses."""
        raise SourceForbiddenError(FORBIDDEN_ADDRESS)

    async def sleep(self, seconds: float) -> None:
        """Wait between attempts to connect."""
        await self._plain.sleep(seconds)


def open_pool(
    policy: AddressPolicy, *, max_connections: int, authorities: Path | None = None
) -> httpcore.AsyncConnectionPool:
    """Open connections that follow no redirect and use no proxy. An async context manager.

    Args:
        authorities: a PEM file of certificates to trust beyond the public authorities.
    """
    trust = ssl.create_default_context(cafile=certifi.where())
    if authorities is not None:
        trust.load_verify_locations(cafile=authorities)
    return httpcore.AsyncConnectionPool(
        ssl_context=trust,
        max_connections=max_connections,
        keepalive_expiry=30.0,
        network_backend=PolicyBackend(policy),
    )
