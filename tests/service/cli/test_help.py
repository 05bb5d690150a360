"""Help and version of the command `cake`, which import no large library."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from model.training.recipe import StageName
from tests.support.cake_command import run

SUBCOMMANDS = (
    "synth mocap",
    "synth compose",
    "synth fights",
    "keys create",
    "keys list",
    "keys revoke",
    "data export",
    *(f"subscriptions {one}" for one in ("list", "add", "test", "pause", "resume", "rotate-secret", "delete")),
    *(f"cameras {one}" for one in ("discover", "start", "stop")),
    "models list",
    "models import",
    "models export",
    *(f"models {one}" for one in ("push", "remove", "shadow", "promote")),
    *(f"train {stage}" for stage in StageName),
    "train ablate",
    "train clips",
    "train end-to-end",
    "train recipe",
    "train transfer",
)
COMMANDS = (
    "serve",
    "worker",
    "settings",
    "keys",
    "submit",
    "watch",
    "sessions",
    "events",
    "push",
    "cameras",
    "subscriptions",
    "data",
    "detect",
    "bench",
    "models",
    "train",
    "eval",
    "explain",
    "embed",
    "synth",
)


@pytest.mark.parametrize("command", [*COMMANDS, *SUBCOMMANDS])
def test_every_command_explains_itself_and_each_of_its_options(command: str) -> None:
    status, out, err = run(*command.split(), "--help", COLUMNS="200")
    assert (status, err) == (0, "")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    for option in re.finditer(r"^│ [* ]\s+(--[a-z-]+)(?P<rest>.*)│$", plain, re.MULTILINE):
        assert len(option["rest"].split()) >= 3, option[0]


def test_the_help_lists_every_command() -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert all(re.search(rf"^│ {command} ", out, re.MULTILINE) for command in COMMANDS)


def test_the_version_is_printed() -> None:
    assert run("--version") == (0, f"cake {version('cake-served')}\n", "")


def test_no_command_prints_the_help_and_a_wrong_one_is_named() -> None:
    assert "Usage" in run()[1]
    status, _, err = run("serv")
    assert status == 2
    assert "serv" in err


def test_the_help_does_without_large_libraries() -> None:
    program = (
        "import sys, service.cli.main\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(service.cli.main.app, ['--help']).exit_code == 0\n"
        "large = {'asyncio', 'torch', 'numpy', 'av', 'fastapi', 'httpx', 'structlog', 'redis', 'pydantic'}\n"
        "sys.exit(bool(large & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_server_starts_without_what_few_servers_use() -> None:
    program = (
        "import sys, service.cli.main, service.cli.sample, service.api.server\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(service.cli.main.app, ['serve', '--help']).exit_code == 0\n"
        "libraries = {'torch', 'numpy', 'av', 'safetensors', 'redis', 'aiomqtt', 'apprise', 'joserfc'}\n"
        "parts = {'service.onvif', 'service.cli.other_commands'}\n"
        "sys.exit(bool((libraries | parts) & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_workers_are_started_before_the_libraries_of_the_server_are_imported(tmp_path: Path) -> None:
    program = (
        "import sys, service.cli.main, service.api.embedded_worker\n"
        "from typer.testing import CliRunner\n"
        "large = {'fastapi', 'starlette', 'uvicorn', 'sqlite3', 'prometheus_client', 'service.store'}\n"
        "def start(settings): sys.exit(10 + len(large & sys.modules.keys()))\n"
        "service.api.embedded_worker.first_workers = start\n"
        "arguments = ['serve', '--port', '0', '--data-dir', sys.argv[1]]\n"
        "sys.exit(CliRunner().invoke(service.cli.main.app, arguments).exit_code)"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path], check=False).returncode == 10


def test_a_worker_starts_without_libraries_that_other_processes_need() -> None:
    program = (
        "import sys, service.worker.process\n"
        "large = {'torch', 'av', 'fastapi', 'starlette', 'uvicorn', 'httpx', 'redis', 'apprise'}\n"
        "sys.exit(bool(large & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
