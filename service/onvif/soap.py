"""One SOAP call to an ONVIF device, with both ways to authenticate that the standard has.

Only a digest of the password is sent: as WS-UsernameToken, and as HTTP digest to devices that ask for it.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import httpx

TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 4 * 1024**2
SOAP = "http://www.w3.org/2003/05/soap-envelope"
DEVICE, MEDIA = "http://www.onvif.org/ver10/device/wsdl", "http://www.onvif.org/ver10/media/wsdl"
SCHEMA = "http://www.onvif.org/ver10/schema"
_WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"
_SECURITY, _UTILITY = f"{_WSS}-wssecurity-secext-1.0.xsd", f"{_WSS}-wssecurity-utility-1.0.xsd"
_DIGEST = f"{_WSS}-username-token-profile-1.0#PasswordDigest"
NAMES = {"s": SOAP, "tds": DEVICE, "trt": MEDIA, "tt": SCHEMA}
"""Prefixes for `find`."""


class OnvifError(Exception):
    """A device did not answer a request. The message is a sentence for people."""


class NotAuthorizedError(OnvifError):
    """The device requires a user and a password, or rejected those that were given."""


@dataclass(frozen=True)
class Credentials:
    """A user of a device."""

    user: str
    password: str = field(repr=False)


async def call(
    client: httpx.AsyncClient, url: str, body: str, credentials: Credentials | None, device_now: datetime
) -> ElementTree.Element:
    """The element in the body of the answer.

    Args:
        body: XML whose prefixes are those of `NAMES`.
        device_now: the time by the clock of the device: it refuses tokens that are not new.

    Raises:
        NotAuthorizedError, OnvifError.
    """
    header = "" if credentials is None else _token(credentials, device_now)
    spaces = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in NAMES.items())
    envelope = f"<s:Envelope {spaces}><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    auth = None if credentials is None else httpx.DigestAuth(credentials.user, credentials.password)
    try:
        request = client.stream(
            "POST",
            url,
            content=envelope.encode(),
            headers={"content-type": "application/soap+xml; charset=utf-8"},
            auth=auth,
            timeout=TIMEOUT_S,
        )
        async with request as answer:
            text = bytearray()
            async for part in answer.aiter_bytes():
                text += part
                if len(text) > MAX_ANSWER_BYTES:
                    raise OnvifError("it answers with too much data")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OnvifError(f"it does not answer ({type(error).__name__})") from error
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise NotAuthorizedError("it rejects this user and password")
    return _content(bytes(text), answer.status_code)


def parsed(text: bytes) -> ElementTree.Element:
    """The root of an XML document from the network. Raises OnvifError."""
    # No document of the protocol has a DTD; entities could make a small document large.
    if b"<!DOCTYPE" in text:
        raise OnvifError("its answer is not valid")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise OnvifError("its answer is not XML, so it is probably not an ONVIF device") from error


def _content(text: bytes, status: int) -> ElementTree.Element:
    body = parsed(text).find("s:Body", NAMES)
    content = None if body is None else next(iter(body), None)
    if content is None:
        raise OnvifError(f"its answer is empty (HTTP {status})")
    if content.tag == f"{{{SOAP}}}Fault":
        said = " ".join("".join(content.itertext()).split())
        if "NotAuthorized" in said or "FailedAuthentication" in said:
            raise NotAuthorizedError("it rejects this user and password")
        raise OnvifError(f"it rejects the request: {said[:200]}")
    return content


def _token(credentials: Credentials, device_now: datetime) -> str:
    """WS-UsernameToken with a password digest: base64 of SHA-1 of nonce, time and password."""
    nonce, created = secrets.token_bytes(16), device_now.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha1(nonce + created.encode() + credentials.password.encode()).digest()
    return (
        f'<Security s:mustUnderstand="1" xmlns="{_SECURITY}"><UsernameToken>'
        f"<Username>{escape(credentials.user)}</Username>"
        f'<Password Type="{_DIGEST}">{base64.b64encode(digest).decode()}</Password>'
        f"<Nonce>{base64.b64encode(nonce).decode()}</Nonce>"
        f'<Created xmlns="{_UTILITY}">{created}</Created>'
        "</UsernameToken></Security>"
    )
