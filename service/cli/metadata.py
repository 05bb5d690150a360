"""`--metadata KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Iterable

from service.cli.terminal import MISUSED, fail


def metadata_pairs(given: Iterable[str] | None) -> list[tuple[str, str]]:
    """Keys and values in their order. If one lacks `=`, the command ends with one line."""
    pairs: list[tuple[str, str]] = []
    for text in given or ():
        key, separator, value = text.partition("=")
        if not separator:
            fail(f"--metadata {text}: give KEY=VALUE", MISUSED)
        pairs.append((key, value))
    return pairs


def values_of(given: Iterable[str] | None) -> dict[str, tuple[str, ...]] | None:
    """The values given for each key; None if there are none. Ends the command as `metadata_pairs` does."""
    values: dict[str, tuple[str, ...]] = {}
    for key, value in metadata_pairs(given):
        values[key] = (*values.get(key, ()), value)
    return values or None
