"""What the service's commands share: settings from options and the environment, and errors as one line."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from service.settings import Settings

FAILED, MISUSED = 1, 2
"""Exit statuses."""
SERVE, USE = "Serve", "Use a server"
"""Headings of the help."""
MIN_KERNEL = (5, 14)


def fail(sentence: str, status: int) -> NoReturn:
    """End with one line on stderr."""
    typer.echo(f"cake: {sentence}", err=True)
    raise typer.Exit(status)


def print_warning(sentence: str) -> None:
    """Print a warning to stderr."""
    typer.echo(f"cake: warning: {sentence}", err=True)


def require_file(source: str) -> None:
    """End with one line if `source` is neither a URL nor a file; FFmpeg would not say which it is."""
    if "://" in source:
        return
    if Path(source).is_dir():
        fail(f"{source} is a folder; name a video file in it", MISUSED)
    if not Path(source).exists():
        fail(f"there is no file {source}", MISUSED)


def read_settings(**chosen: object) -> Settings:
    """The settings of the environment, replaced by the options that were given: `chosen` maps fields to values."""
    from pydantic import ValidationError

    from service.cli.setting_errors import explain_setting_error, unknown_variables
    from service.settings import Settings
    from service.sources.sources import redact

    for name, similar in unknown_variables(os.environ).items():
        print_warning(
            f"unknown setting {name}" + (f"; did you mean {similar}?" if similar else "; see `cake settings`")
        )
    given = {name: value for name, value in chosen.items() if value is not None}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        options = {name: f"--{name.removeprefix('key_').replace('_', '-')}" for name in given}
        fail(redact(explain_setting_error(error.errors()[0], options)), MISUSED)


def require_models(settings: Settings) -> None:
    """End with one line if the settings name a model that this machine does not have."""
    from service.cli.setting_errors import ModelSettingError, check_models

    try:
        check_models(settings)
    except ModelSettingError as error:
        fail(str(error), MISUSED)


def require_kernel() -> None:
    """End with one line on a system whose kernel cannot confine decoders."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    if platform.system() != "Linux" or not found or (int(found[1]), int(found[2])) < MIN_KERNEL:
        needed = ".".join(map(str, MIN_KERNEL))
        fail(f"workers need Linux {needed} or later; this is {platform.system()} {platform.release()}", FAILED)
