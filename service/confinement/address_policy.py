"""Which network addresses a source may have: public ones, and those of networks that the operator allows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# Not public though they look so: protocol assignments (a metadata service of Oracle's among them), 6to4 relays, and
# Azure's metadata service.
_SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# NAT64: the IPv4 address is the last 32 bits (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")
_DNS_PORT = 53


@dataclass(frozen=True)
class AddressPolicy:
    """`allowed` adds networks that are not public; `nameservers` are reached on port 53 alone."""

    allowed: tuple[IPNetwork, ...] = ()
    nameservers: frozenset[IPAddress] = frozenset()

    def permits(self, address: IPAddress, port: int) -> bool:
        """Whether a decoder may connect to `address`, or send to it."""
        if port == _DNS_PORT and address in self.nameservers:
            return True
        return self.permits_source(address)

    def permits_source(self, address: IPAddress) -> bool:
        """Whether a source may have `address`. An address that stands for another one is judged by both."""
        return all(self._permits_alone(one) for one in _all_meant(address))

    def _permits_alone(self, address: IPAddress) -> bool:
        if any(address.version == network.version and address in network for network in self.allowed):
            return True
        if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
            return False
        is_special = any(address in network for network in _SPECIAL)
        return address.is_global and not address.is_multicast and not is_special


PUBLIC_ONLY = AddressPolicy()


def read_nameservers(resolv_conf: Path = Path("/etc/resolv.conf")) -> frozenset[IPAddress]:
    """The name servers of this machine; the loopback, as the resolver assumes, where none is named."""
    lines = resolv_conf.read_text().splitlines() if resolv_conf.exists() else []
    named = [fields[1] for line in lines if len(fields := line.split()) >= 2 and fields[0] == "nameserver"]
    return frozenset(_parsed(named or ["127.0.0.1"]))


def _parsed(names: Iterable[str]) -> Iterator[IPAddress]:
    for name in names:
        # A zone, as in fe80::1%eth0, names the interface and not the machine.
        yield ip_network(name.partition("%")[0]).network_address


def _all_meant(address: IPAddress) -> Iterator[IPAddress]:
    """The address, or in its place the IPv4 address inside it, together with a relay that it may go through."""
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
