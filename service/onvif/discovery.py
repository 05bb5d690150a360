"""Finds ONVIF devices with WS-Discovery: sends a probe to a whole network, or to given hosts, and reads the answers."""

import asyncio
import socket
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from service.onvif.soap import OnvifError, parsed

GROUP, PORT = "239.255.255.250", 3702
ASK_AGAIN_S = 0.5
MAX_DEVICES = 1000
_SCOPE = "onvif://www.onvif.org/"
_PROBE = "http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe"
_NAMES = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "d": "http://schemas.xmlsoap.org/ws/2005/04/discovery",
    "dn": "http://www.onvif.org/ver10/network/wsdl",
    "tds": "http://www.onvif.org/ver10/device/wsdl",
}
# Types that devices state; some state only one of them.
_TYPES = ("dn:NetworkVideoTransmitter", "tds:Device")


@dataclass(frozen=True)
class FoundDevice:
    """A device that answered: the address of its device service, and its name."""

    url: str
    name: str


class _Answers(asyncio.DatagramProtocol):
    """Collects devices by their endpoint, each of which may answer several times."""

    def __init__(self, questions: frozenset[str]) -> None:
        self.found: dict[str, FoundDevice] = {}
        self._questions = questions

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self.found) >= MAX_DEVICES:
            return
        # Anyone may send anything to this port.
        with suppress(OnvifError, ValueError):
            envelope = parsed(data)
            if envelope.findtext("s:Header/a:RelatesTo", "", _NAMES).strip() not in self._questions:
                return
            for match in envelope.iterfind(".//d:ProbeMatch", _NAMES):
                endpoint = match.findtext("a:EndpointReference/a:Address", "", _NAMES).strip()
                device = _device(match, addr[0])
                if device is not None:
                    self.found.setdefault(endpoint or device.url, device)

    def error_received(self, exc: Exception) -> None:
        """A probed host has no such port, so it is not a device."""


async def discover_devices(
    *, within_s: float, interface: str | None, hosts: Sequence[tuple[str, int]] = ()
) -> list[FoundDevice]:
    """The devices that answer in time, by address.

    Args:
        interface: own IPv4 address in the network to ask; None for the one of the default route.
        hosts: ask these hosts and ports in place of the network.

    Raises:
        OSError: there is no such interface, no network, or no such host.
    """
    questions = [(f"uuid:{uuid.uuid4()}", kind) for kind in _TYPES]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((interface or "", 0))
        if interface is not None:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        loop = asyncio.get_running_loop()
        asked = [await _resolved(host, port) for host, port in hosts] or [(GROUP, PORT)]
        transport, answers = await loop.create_datagram_endpoint(
            lambda: _Answers(frozenset(message_id for message_id, _ in questions)), sock=sock
        )
    except BaseException:
        sock.close()
        raise
    try:
        # Datagrams get lost.
        for wait_s in (min(ASK_AGAIN_S, within_s / 2), max(within_s - ASK_AGAIN_S, within_s / 2)):
            for target in asked:
                for message_id, kind in questions:
                    transport.sendto(_question(message_id, kind), target)
            await asyncio.sleep(wait_s)
    finally:
        transport.close()
    return sorted(answers.found.values(), key=lambda device: device.url)


async def _resolved(host: str, port: int) -> tuple[str, int]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    address: tuple[str, int] = found[0][4][:2]  # type: ignore[assignment]
    return address


def _question(message_id: str, kind: str) -> bytes:
    spaces = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in _NAMES.items())
    return (
        f"<s:Envelope {spaces}><s:Header><a:Action>{_PROBE}</a:Action><a:MessageID>{message_id}</a:MessageID>"
        "<a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header>"
        f"<s:Body><d:Probe><d:Types>{kind}</d:Types></d:Probe></s:Body></s:Envelope>"
    ).encode()


def _device(match: ElementTree.Element, sender: str) -> FoundDevice | None:
    """None for anything but an ONVIF device."""
    addresses = [url for url in match.findtext("d:XAddrs", "", _NAMES).split() if _is_http(url)]
    if not addresses:
        return None
    # A device with several networks lists all its addresses; the one that answered is reachable.
    reached = [url for url in addresses if urlsplit(url).hostname == sender]
    scopes = [scope for scope in match.findtext("d:Scopes", "", _NAMES).split() if scope.startswith(_SCOPE)]
    said = dict(scope.removeprefix(_SCOPE).partition("/")[::2] for scope in reversed(scopes))
    name = unquote(said.get("name") or said.get("hardware") or "")
    # A terminal acts on characters that cannot be printed.
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    return FoundDevice((reached or addresses)[0], " ".join(printable.split()) or sender)


def _is_http(url: str) -> bool:
    """Raises ValueError."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)
