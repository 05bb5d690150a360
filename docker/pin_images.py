"""`make pin-images`: pin the images of docker/Dockerfile and docker-compose.yml by digest, or update their digests.

A tag can be moved to another image; a digest cannot. Each image keeps its tag, for people and for the next update.
With `--check`, change nothing and fail if an image has no digest, as `make release-check` does.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = (ROOT / "docker" / "Dockerfile", ROOT / "docker-compose.yml")
IMAGE = re.compile(r"^(ARG \w+_IMAGE=| +image: )([^\s@]+)(?:@(sha256:[0-9a-f]{64}))?$", re.MULTILINE)


class DigestUnknownError(Exception):
    """The registry did not name the digest of an image."""


def images(text: str) -> set[str]:
    """The images that a file names, with their tags and without digests."""
    return {image for _, image, _ in IMAGE.findall(text)}


def unpinned(text: str) -> set[str]:
    """The images that a file names without digest."""
    return {image for _, image, digest in IMAGE.findall(text) if not digest}


def pinned(text: str, digests: dict[str, str]) -> str:
    return IMAGE.sub(lambda found: f"{found[1]}{found[2]}@{digests[found[2]]}", text)


def find_digest(image: str) -> str:
    """The digest of an image's index, which covers all its platforms. Raises DigestUnknownError."""
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", image]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return str(json.loads(done.stdout)["digest"])
    except subprocess.CalledProcessError as error:
        raise DigestUnknownError(f"{image}: {error.stderr.strip()}") from error
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        raise DigestUnknownError(f"{image}: {error}") from error


def check() -> None:
    missing = sorted({image for file in FILES for image in unpinned(file.read_text())})
    if missing:
        sys.exit(f"Without a digest: {', '.join(missing)}. Run `make pin-images` where Docker reaches the registries.")


def pin() -> None:
    named = sorted({image for file in FILES for image in images(file.read_text())})
    try:
        digests = {image: find_digest(image) for image in named}
    except DigestUnknownError as error:
        sys.exit(f"Nothing was changed. {error}\nThis needs Docker with buildx and access to the registries.")
    for file in FILES:
        file.write_text(pinned(file.read_text(), digests))


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    else:
        pin()
