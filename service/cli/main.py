"""The command `cake`. Each subcommand imports what it needs when it runs, so that `cake --help` is fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_group

from service.cli.sample_option import SampleCommand
from service.cli.serve import serve, worker
from service.cli.terminal import SERVE

if TYPE_CHECKING:
    from typer._click import Command, Context


class CakeGroup(TyperGroup):
    """Builds the commands other than `serve` and `worker` when one of them or their list is needed.

    All together they take 70 ms, an eighth of the processor time in which a server starts.
    """

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The command with this name, or None."""
        if cmd_name not in self.commands:
            self._build_others()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Context) -> list[str]:
        """The names of all commands, in the order of the help."""
        self._build_others()
        return super().list_commands(ctx)

    def _build_others(self) -> None:
        from service.cli.other_commands import other_commands

        self.commands.update(get_group(other_commands).commands)


app = typer.Typer(
    cls=CakeGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(f"cake {version('cake-served')}")
        raise typer.Exit


@app.callback()
def cake(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Watch video and report each action live, the moment it starts."""


app.command(rich_help_panel=SERVE, cls=SampleCommand)(serve)
app.command(rich_help_panel=SERVE)(worker)

if __name__ == "__main__":
    app()
