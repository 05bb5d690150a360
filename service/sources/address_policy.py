"""Which network addresses a source may have: public ones of other machines, and networks that the operator allows."""

import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# Not public although they look like it: protocol assignments (one of them Oracle's metadata service), 6to4 relays, and
# Azure's metadata service.
_SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# NAT64: the IPv4 address is the last 32 bits (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")
_DNS_PORT, _ANY_PORT = 53, 9


def is_own(address: IPAddress) -> bool:
    """Whether `address` belongs to this machine: it would reach services that a firewall may hide from others.

    The kernel is asked each time, as addresses come and go: it sends to an own address from that same address. No
    packet is sent.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), _ANY_PORT))
            return ip_address(probe.getsockname()[0]) == address
    except OSError:
        # There is no route to it.
        return False


@dataclass(frozen=True)
class AddressPolicy:
    """Public addresses of other machines, and the networks that are `allowed` in addition.

    `nameservers` may be reached on port 53 only. `is_own` says whether an address is this machine's.
    """

    allowed: tuple[IPNetwork, ...] = ()
    nameservers: frozenset[IPAddress] = frozenset()
    is_own: Callable[[IPAddress], bool] = is_own

    def permits(self, address: IPAddress, port: int) -> bool:
        """Whether a decoder may connect to `address`, or send to it."""
        if port == _DNS_PORT and address in self.nameservers:
            return True
        return self.permits_source(address)

    def permits_source(self, address: IPAddress) -> bool:
        """Whether a source may have `address`. If it embeds other addresses, all of them must be permitted."""
        return all(self._permits_one(one) for one in _embedded(address))

    def _permits_one(self, address: IPAddress) -> bool:
        if any(address.version == network.version and address in network for network in self.allowed):
            return True
        if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
            return False
        is_special = any(address in network for network in _SPECIAL)
        return address.is_global and not address.is_multicast and not is_special and not self.is_own(address)


PUBLIC_ONLY = AddressPolicy()


def read_nameservers(resolv_conf: Path = Path("/etc/resolv.conf")) -> frozenset[IPAddress]:
    """The name servers of this machine; where none is configured, the loopback address, as in the resolver."""
    lines = resolv_conf.read_text().splitlines() if resolv_conf.exists() else []
    named = [fields[1] for line in lines if len(fields := line.split()) >= 2 and fields[0] == "nameserver"]
    return frozenset(_parsed(named or ["127.0.0.1"]))


def _parsed(names: Iterable[str]) -> Iterator[IPAddress]:
    for name in names:
        # A zone, as in fe80::1%eth0, names the interface, not the machine.
        yield ip_network(name.partition("%")[0]).network_address


def _embedded(address: IPAddress) -> Iterator[IPAddress]:
    """The address, or instead the IPv4 address that it embeds, and any relay that it goes through."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
    else:
        yield address
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo
