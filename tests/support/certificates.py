"""Certificates that their own keys sign."""

import subprocess
from pathlib import Path


def certificate_for(name: str, folder: Path) -> Path:
    """A PEM file with a key and the certificate that it signed itself."""
    path, key = folder / f"{name[:3]}.pem", folder / "key.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=camera -addext subjectAltName={name} "
    command += "-addext basicConstraints=critical,CA:FALSE"
    subprocess.run([*command.split(), "-keyout", str(key), "-out", str(path)], check=True, capture_output=True)
    path.write_text(key.read_text() + path.read_text())
    return path
