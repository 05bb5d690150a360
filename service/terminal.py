"""What the commands of the service share: settings from options and the environment, and errors in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from service.settings import Settings

FAILED, MISUSED = 1, 2
"""Exit statuses."""


def fail(sentence: str, status: int) -> NoReturn:
    """End with one line on stderr."""
    typer.echo(f"cake: {sentence}", err=True)
    raise typer.Exit(status)


def read_settings(**chosen: object) -> Settings:
    """The environment's settings, with the options that were given in their place."""
    from pydantic import ValidationError

    from service.settings import Settings

    given = {name: value for name, value in chosen.items() if value is not None}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        # A list that is no JSON has no place yet.
        where = "".join(f"{part}: " for part in first["loc"])
        fail(f"{where}{first['msg']}", MISUSED)
