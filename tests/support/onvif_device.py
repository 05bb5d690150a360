"""An ONVIF device of our own on 127.0.0.1: answers probes over UDP and describes its streams over SOAP."""

import base64
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Literal
from urllib.request import parse_http_list, parse_keqv_list
from xml.etree import ElementTree

from tests.support.video_server import serve_handler

_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
    ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:tds="http://www.onvif.org/ver10/device/wsdl"'
    ' xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema"'
    ' xmlns:ter="http://www.onvif.org/ver10/error">{header}<SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>'
)
_FAULT = (
    "<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:Sender</SOAP-ENV:Value><SOAP-ENV:Subcode>"
    "<SOAP-ENV:Value>ter:NotAuthorized</SOAP-ENV:Value></SOAP-ENV:Subcode></SOAP-ENV:Code><SOAP-ENV:Reason>"
    '<SOAP-ENV:Text xml:lang="en">Sender not authorized</SOAP-ENV:Text></SOAP-ENV:Reason></SOAP-ENV:Fault>'
)
_REALM, _NONCE = "camera", "5ccc069c403ebaf9f0171e9517f40e41"
_TOKEN_IS_NEW_S = 30.0


@dataclass(frozen=True)
class Stream:
    """A profile: `source` is the channel."""

    token: str
    width: int
    height: int
    rate_hz: int = 25
    source: str = "source0"
    encoding: str = "H264"


@dataclass
class OnvifServer:
    """Wants user and password by `auth`; its clock is `ahead`."""

    streams: tuple[Stream, ...]
    auth: Literal["token", "http", "none"] = "token"
    user: str = "admin"
    password: str = "p@ss/word"
    ahead: timedelta = timedelta()
    name: str = "Hall%20%26%1b%0aDoor"
    stream_host: str = "127.0.0.1"
    host: str = ""
    probe_port: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}/onvif/device_service"

    def answer(self, body: bytes, authorization: str | None) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers."""
        self.requests.append(body)
        asked = re.search(rb"<s:Body><(?:tds|trt):(\w+)", body)
        method = asked[1].decode() if asked else ""
        if method != "GetSystemDateAndTime":
            if self.auth == "http" and not self._is_http_digest(authorization):
                challenge = f'Digest realm="{_REALM}", qop="auth", nonce="{_NONCE}", algorithm=MD5'
                return 401, "", {"WWW-Authenticate": challenge}
            if self.auth == "token" and not self._is_token(body):
                return 400, _ENVELOPE.format(header="", body=_FAULT), {}
        return 200, _ENVELOPE.format(header="", body=self._content(method, body)), {}

    def probe_match(self, probe: bytes) -> bytes:
        """The answer to a WS-Discovery probe."""
        question = ElementTree.fromstring(probe)
        message_id = question.findtext(".//{http://schemas.xmlsoap.org/ws/2004/08/addressing}MessageID")
        scopes = f"onvif://www.onvif.org/name/{self.name} onvif://www.onvif.org/type/video_encoder"
        match = (
            "<d:ProbeMatches><d:ProbeMatch><wsa:EndpointReference><wsa:Address>urn:uuid:1</wsa:Address>"
            f"</wsa:EndpointReference><d:Types>tds:Device</d:Types><d:Scopes>{scopes}</d:Scopes>"
            f"<d:XAddrs>http://192.0.2.9/onvif/device_service {self.url}</d:XAddrs></d:ProbeMatch></d:ProbeMatches>"
        )
        header = f"<SOAP-ENV:Header><wsa:RelatesTo>{message_id}</wsa:RelatesTo></SOAP-ENV:Header>"
        return _ENVELOPE.format(header=header, body=match).encode()

    def _content(self, method: str, body: bytes) -> str:
        if method == "GetSystemDateAndTime":
            now = datetime.now(UTC) + self.ahead
            return (
                "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:UTCDateTime><tt:Time>"
                f"<tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute><tt:Second>{now.second}</tt:Second>"
                f"</tt:Time><tt:Date><tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month>"
                f"<tt:Day>{now.day}</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime>"
                "</tds:GetSystemDateAndTimeResponse>"
            )
        if method == "GetCapabilities":
            # As behind a router: the address is one of the inner network.
            return (
                "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media><tt:XAddr>http://10.0.0.7/onvif/media"
                "</tt:XAddr></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>"
            )
        if method == "GetProfiles":
            profiles = "".join(map(_profile, self.streams))
            audio = '<trt:Profiles token="audio"><tt:Name>audio</tt:Name></trt:Profiles>'
            return f"<trt:GetProfilesResponse>{audio}{profiles}</trt:GetProfilesResponse>"
        token = re.search(rb"<trt:ProfileToken>(.*?)<", body)
        assert method == "GetStreamUri"
        assert token is not None
        uri = f"rtsp://{self.stream_host}:8554/{token[1].decode()}?unicast=true&amp;proto=Onvif"
        return (
            f"<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>{uri}</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>"
        )

    def _is_token(self, body: bytes) -> bool:
        """Whether the WS-UsernameToken is right and new by the clock of the device."""
        found = {
            name: re.search(rf"<{name}(?: [^>]*)?>(.*?)</{name}>".encode(), body)
            for name in ("Username", "Password", "Nonce", "Created")
        }
        user, digest, nonce, created = (b"" if match is None else match[1] for match in found.values())
        if user.decode() != self.user:
            return False
        right = hashlib.sha1(base64.b64decode(nonce) + created + self.password.encode()).digest()
        age = datetime.now(UTC) + self.ahead - datetime.strptime(created.decode(), "%Y-%m-%dT%H:%M:%S%z")
        return base64.b64decode(digest) == right and abs(age.total_seconds()) < _TOKEN_IS_NEW_S

    def _is_http_digest(self, authorization: str | None) -> bool:
        """RFC 7616 with MD5 and qop=auth."""
        if authorization is None or not authorization.startswith("Digest "):
            return False
        given = parse_keqv_list(parse_http_list(authorization.removeprefix("Digest ")))
        secret = _md5(f"{self.user}:{_REALM}:{self.password}")
        request = _md5(f"POST:{given['uri']}")
        right = _md5(f"{secret}:{_NONCE}:{given['nc']}:{given['cnonce']}:auth:{request}")
        return given["username"] == self.user and given["response"] == right


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _profile(stream: Stream) -> str:
    return (
        f'<trt:Profiles token="{stream.token}" fixed="true"><tt:Name>{stream.token}</tt:Name>'
        f'<tt:VideoSourceConfiguration token="v"><tt:SourceToken>{stream.source}</tt:SourceToken>'
        f'</tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration token="e"><tt:Encoding>{stream.encoding}'
        f"</tt:Encoding><tt:Resolution><tt:Width>{stream.width}</tt:Width><tt:Height>{stream.height}</tt:Height>"
        f"</tt:Resolution><tt:RateControl><tt:FrameRateLimit>{stream.rate_hz}</tt:FrameRateLimit></tt:RateControl>"
        "</tt:VideoEncoderConfiguration></trt:Profiles>"
    )


@contextmanager
def onvif_device(device: OnvifServer) -> Iterator[OnvifServer]:
    """It answers until the context ends; its addresses are in `device`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content, headers = device.answer(body, self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

    with serve_handler(Handler) as host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probes:
        device.host = host
        probes.bind(("127.0.0.1", 0))
        device.probe_port = probes.getsockname()[1]
        thread = threading.Thread(target=_answer_probes, args=(device, probes))
        thread.start()
        try:
            yield device
        finally:
            # An empty datagram ends it.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", probes.getsockname())
            thread.join()


def _answer_probes(device: OnvifServer, probes: socket.socket) -> None:
    while True:
        probe, sender = probes.recvfrom(65_536)
        if not probe:
            return
        # What else is in a network: noise, and answers to questions of others.
        probes.sendto(b"noise", sender)
        probes.sendto(device.probe_match(probe.replace(b"uuid:", b"uuid:0")), sender)
        probes.sendto(device.probe_match(probe), sender)
