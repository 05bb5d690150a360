"""The checks of `make` before it installs anything."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def preflight(*arguments: str, path: Path | None = None) -> tuple[int, str]:
    """Exit status and stderr; programs in `path` come first."""
    environ = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    command = [str(ROOT / ".ci" / "preflight.sh"), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    return done.returncode, done.stderr


def program(path: Path, answer: str) -> Path:
    path.write_text(f"#!/bin/sh\necho {answer}\n")
    path.chmod(0o755)
    return path


def test_a_supported_python_and_a_free_port_pass() -> None:
    assert preflight(sys.executable, f"3.1 {VERSION}", "0") == (0, "")


def test_an_unsupported_python_is_refused_and_a_suitable_one_named(tmp_path: Path) -> None:
    program(tmp_path / "python9.8", "9.8")
    old = program(tmp_path / "old", "3.4")
    status, err = preflight(str(old), "9.7 9.8", path=tmp_path)
    assert status == 1
    assert f"{old} is 3.4" in err
    assert "make run PYTHON=python9.8" in err
    assert "python9.7" not in err


@pytest.mark.parametrize("python", ["/nonexistent", "/bin/false"])
def test_a_program_that_is_not_a_python_is_reported(python: str) -> None:
    assert f"{python} is not a Python" in preflight(python, "9.9")[1]


def test_a_busy_port_is_named_before_anything_is_installed() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        status, err = preflight(sys.executable, VERSION, port)
    assert status == 1
    assert f"Port {port} is in use" in err
    assert "make run PORT=" in err


@pytest.mark.parametrize(
    ("system", "release", "refusal"),
    [
        ("Darwin", "24.1.0", "Docker"),
        ("Linux", "5.13.0-generic", "5.14"),
        ("Linux", "4.19.0-27-amd64", "5.14"),
        ("Linux", "5.14.0", None),
        ("Linux", "10.2", None),
    ],
)
def test_the_kernel_is_checked(system: str, release: str, refusal: str | None, tmp_path: Path) -> None:
    uname = tmp_path / "uname"
    uname.write_text(f'#!/bin/sh\n[ "$1" = -s ] && echo {system} || echo {release}\n')
    uname.chmod(0o755)
    status, err = preflight(sys.executable, VERSION, path=tmp_path)
    assert status == (0 if refusal is None else 1)
    assert (refusal or "") in err


def test_make_help_lists_every_target_that_is_described() -> None:
    makefile = (ROOT / "Makefile").read_text()
    described = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    shown = subprocess.run(["make", "-C", ROOT, "help"], check=True, capture_output=True, text=True).stdout
    assert {"run", "test", "lint", "help"} <= set(described)
    assert all(re.search(rf"^{target} ", shown, re.MULTILINE) for target in described)
