"""Helpers for the tests of decoder children."""

from ipaddress import ip_network
from pathlib import Path

from service.decoder.protocol import DecodeRequest
from service.sources.address_policy import AddressPolicy, read_nameservers

LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"),), read_nameservers())


def request(
    address: str | Path,
    *,
    pace: str = "fast",
    after_s: float | None = None,
    replay_until_s: float | None = None,
    size: int = 32,
    timeout_s: float = 60.0,
) -> DecodeRequest:
    """Decode ten frames a second of a file or stream."""
    return DecodeRequest(str(address), {}, 10.0, size, pace, after_s, 5.0, timeout_s, replay_until_s=replay_until_s)  # type: ignore[arg-type]
