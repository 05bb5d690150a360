"""How the settings are written as variables of the environment."""

from collections.abc import Iterable, Mapping

from pydantic import BeforeValidator, PlainSerializer
from pydantic_settings import NoDecode

PREFIX = "CAKE_"


def variable(name: str) -> str:
    """The environment variable of the field `name`."""
    return f"{PREFIX}{name.upper()}"


def join_items(items: Iterable[object]) -> str:
    """The items of a list as its variable holds them."""
    return ",".join(map(str, items))


def _split(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


COMMA_SEPARATED = (NoDecode, BeforeValidator(_split), PlainSerializer(join_items))
"""Metadata of every list setting: the variable holds the items separated by commas."""


def _split_seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [item.rpartition("=") for item in value.split(",") if item.strip()]
    if not all(name.strip() for name, _, _ in pairs):
        raise ValueError("must be names with seconds, separated by commas")
    return {name.strip(): seconds.strip() for name, _, seconds in pairs}


def _join_seconds(seconds: Mapping[str, float]) -> str:
    return ",".join(f"{name}={each}" for name, each in seconds.items())


SECONDS_BY_NAME = (NoDecode, BeforeValidator(_split_seconds), PlainSerializer(_join_seconds))
"""Metadata of a setting that maps names to seconds: the variable holds `name=seconds`, separated by commas."""

MAX_KEEP_S = 100 * 365 * 24 * 3600.0
"""Ages beyond it leave the range of dates."""
