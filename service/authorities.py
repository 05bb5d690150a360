"""Whose certificates sources may show: the public authorities, and those that the operator names."""

import re
import ssl
import tempfile
from pathlib import Path

import certifi

PUBLIC_AUTHORITIES = Path(certifi.where())
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class AuthoritiesUnusable(ValueError):
    """A file that cannot be read, or holds no certificate."""


def read_authorities(path: Path) -> str:
    """The certificates in a PEM file, and nothing else of it: it may hold keys. Raises AuthoritiesUnusable."""
    try:
        certificates = "\n".join(_CERTIFICATE.findall(path.read_text()))
        if not certificates:
            raise ValueError("it has none")
        ssl.create_default_context(cadata=certificates)
    except (OSError, ValueError) as error:
        raise AuthoritiesUnusable(f"no certificates can be read from {path} ({error}); give a PEM file") from error
    return certificates


def write_authorities(own: Path, target: Path) -> None:
    """Join the public authorities and those of `own` in one PEM file, as FFmpeg reads only one.

    Raises AuthoritiesUnusable.
    """
    certificates = read_authorities(own)
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix="authorities-", delete=False) as file:
        file.write(f"{PUBLIC_AUTHORITIES.read_text()}\n{certificates}\n")
    # In one step: other workers' decoders may be reading it.
    Path(file.name).replace(target)
