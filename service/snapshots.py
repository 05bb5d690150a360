"""The latest picture of each session, a file that is replaced whole."""

import asyncio
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)


async def keep_snapshot(path: Path, jpeg: bytes, *, token: int) -> None:
    """Replace the picture. `token` sets two workers apart that believe to own the session. A full disk is logged."""
    try:
        await asyncio.to_thread(_replace, path, jpeg, f".{token}.part")
    except OSError as error:
        _log.warning("snapshot not kept", file=path.name, error=str(error))


def _replace(path: Path, content: bytes, suffix: str) -> None:
    partial = path.with_suffix(suffix)
    partial.write_bytes(content)
    partial.replace(path)
