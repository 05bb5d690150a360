"""The command `cake`, run in the tests' own process."""

from typer.testing import CliRunner

from service.cli.main import app


def run(*arguments: object, **environ: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=environ)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
