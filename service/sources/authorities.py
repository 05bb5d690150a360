"""Certificate authorities that sources are checked against: the public ones, and those that the operator adds."""

import re
import ssl
import tempfile
from pathlib import Path

import certifi

PUBLIC_AUTHORITIES = Path(certifi.where())
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class AuthoritiesUnusableError(ValueError):
    """A file of certificates that cannot be read, or contains none."""


def read_authorities(path: Path) -> str:
    """The certificates in a PEM file, without the keys that it may contain. Raises AuthoritiesUnusableError."""
    try:
        certificates = "\n".join(_CERTIFICATE.findall(path.read_text()))
        if not certificates:
            raise ValueError("it contains none")
        ssl.create_default_context(cadata=certificates)
    except (OSError, ValueError) as error:
        raise AuthoritiesUnusableError(f"no certificates can be read from {path} ({error}); give a PEM file") from error
    return certificates


def write_authorities(own: Path, target: Path) -> None:
    """Write the public authorities and those of `own` to one PEM file, as FFmpeg reads only one.

    Raises AuthoritiesUnusableError.
    """
    certificates = read_authorities(own)
    # Several workers may write it at a time, so each has its own temporary file; their decoders may be reading it.
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix="authorities-", delete=False) as file:
        file.write(f"{PUBLIC_AUTHORITIES.read_text()}\n{certificates}\n")
    Path(file.name).replace(target)
