"""Addresses in requests: rejects mistakes before anything connects, with a sentence that names the mistake."""

import re
import socket
from typing import Annotated

from pydantic import AfterValidator, AnyUrl, BeforeValidator, UrlConstraints

from model.video.source import SCHEME_PROTOCOLS

MAX_LABEL_LENGTH, MAX_HOST_LENGTH = 63, 253


def with_possible_host(url: AnyUrl) -> AnyUrl:
    """Reject a host name that cannot exist (RFC 1035): it is a typing mistake, which every later look-up would meet.

    Underscores are no mistake: containers have such names.
    """
    labels = (url.host or "").removesuffix(".").split(".")
    if not url.host or url.host.startswith("["):
        return url
    if not all(re.fullmatch(r"[A-Za-z0-9_-]*", label) for label in labels):
        raise ValueError(f"{url.host!r} is not a valid host name: it has characters other than letters, digits and -")
    if labels[-1].isdigit() and not _is_ipv4(".".join(labels)):
        raise ValueError(f"{url.host!r} is not a valid host name: it ends with a number, but is not an IPv4 address")
    if len(url.host) > MAX_HOST_LENGTH or not all(1 <= len(label) <= MAX_LABEL_LENGTH for label in labels):
        raise ValueError(
            f"{url.host!r} is not a valid host name: each part between dots has 1 to {MAX_LABEL_LENGTH} characters, "
            f"the whole name at most {MAX_HOST_LENGTH}"
        )
    return url


def with_possible_port(url: AnyUrl) -> AnyUrl:
    """Reject port 0: nothing can listen on it, so every connection would fail."""
    if url.port == 0:
        raise ValueError("has port 0, which nothing can listen on")
    return url


def _is_ipv4(host: str) -> bool:
    """Whether resolvers read it as an address, in any of its notations."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


def _with_encoded_password(url: object) -> object:
    """A password with `/`, `?`, `#` or `@` in it ends the user information early, and is then taken for a path.

    A path with an `@` is only suspect where something with a colon, a password or a port, comes before it.
    """
    if isinstance(url, str) and "://" in url:
        authority, *rest = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)
        if "@" in "".join(rest) and (":" in authority or "@" in authority):
            raise ValueError(
                "has an @ after the host. Percent-encode the password (/ as %2F, ? as %3F, # as %23, @ as %40) and any"
                " @ in the path or query (%40)"
            )
    return url


SourceUrl = Annotated[
    AnyUrl,
    UrlConstraints(max_length=4096, allowed_schemes=list(SCHEME_PROTOCOLS), host_required=True),
    BeforeValidator(_with_encoded_password),
    AfterValidator(with_possible_host),
    AfterValidator(with_possible_port),
]
WebhookUrl = Annotated[
    AnyUrl,
    UrlConstraints(max_length=2048, allowed_schemes=["http", "https"], host_required=True),
    AfterValidator(with_possible_host),
    AfterValidator(with_possible_port),
]
