"""What the tests of decoder children share."""

from ipaddress import ip_network
from pathlib import Path

from model.video import VideoInfo
from service.confinement.address_policy import AddressPolicy, read_nameservers
from service.decode_messages import DecodeRequest
from service.decoder_process import DecodedFrame, Ended, Snapshot

LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"),), read_nameservers())
Message = VideoInfo | DecodedFrame | Snapshot | Ended


def request(
    address: str | Path,
    *,
    pace: str = "fast",
    after_s: float | None = None,
    told_s: float | None = None,
    size: int = 32,
    timeout_s: float = 5.0,
) -> DecodeRequest:
    return DecodeRequest(str(address), {}, 10.0, size, pace, after_s, 5.0, timeout_s, told_s)  # type: ignore[arg-type]
