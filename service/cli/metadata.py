"""`--metadata KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Iterable

from service.cli.terminal import MISUSED, fail


def metadata_pairs(given: Iterable[str] | None) -> list[tuple[str, str]]:
    """Keys and values in their order. Ends the command with one line for one without `=`."""
    pairs: list[tuple[str, str]] = []
    for text in given or ():
        key, separator, value = text.partition("=")
        if not separator:
            fail(f"--metadata {text}: give KEY=VALUE", MISUSED)
        pairs.append((key, value))
    return pairs
