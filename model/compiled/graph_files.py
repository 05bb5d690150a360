"""Compiled graphs on disk, so that a process starts without compiling them.

OpenVINO imports a file with a flipped bit without an error, and then computes something else. Each file therefore
begins with the digest of the rest, and a file that does not match its digest is deleted. This detects damage, not
forgery: a user who can write to the folder can also replace a graph.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

MAX_BYTES = 512 * 1024**2
_log = logging.getLogger(__name__)


class GraphFiles:
    """Contents by key. Several processes may use one folder; beyond `max_bytes`, the least recently used files are
    deleted.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def read(self, key: str) -> bytes | None:
        """What was written under this key, unchanged; None if it is missing, damaged or cannot be read."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("a compiled graph cannot be read and is compiled again: %s", error)
            return None
        digest_bytes = hashlib.sha256().digest_size
        if data[:digest_bytes] == hashlib.sha256(memoryview(data)[digest_bytes:]).digest():
            return data[digest_bytes:]
        _log.warning("a compiled graph is damaged, deleted and compiled again: %s", path)
        self.delete(key)
        return None

    def write(self, key: str, content: bytes) -> None:
        """Store the content. If that is impossible, as on a full disk, log it and continue without."""
        partial = self._folder / f"{key}.{os.getpid()}.partial"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                partial.write_bytes(hashlib.sha256(content).digest() + content)
                partial.replace(self._path(key))
            finally:
                partial.unlink(missing_ok=True)
            self._make_room()
        except OSError as error:
            _log.warning("a compiled graph cannot be kept and will be compiled at the next start: %s", error)

    def delete(self, key: str) -> None:
        """Delete a graph, if it exists."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.graph"

    def _make_room(self) -> None:
        """Also removes files that a killed process left behind."""
        used = sorted(((path.stat(), path) for path in self._folder.iterdir()), key=lambda pair: pair[0].st_mtime)
        total_bytes = sum(status.st_size for status, _ in used)
        for status, path in used:
            if total_bytes <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total_bytes -= status.st_size
