"""The image target `all`: one container that serves the page and detects."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()


def variables(target: str) -> dict[str, str]:
    """The environment of an image target, with that of the targets that it builds on."""
    found = re.search(rf"^FROM (\S+) AS {target}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    if found is None:
        return {}
    own = dict(
        pair.split("=", 1) for line in re.findall(r"^ENV (.*)$", found[2], re.MULTILINE) for pair in line.split()
    )
    return variables(found[1]) | own


@pytest.mark.slow
def test_the_single_container_serves_and_gets_ready_without_further_settings(tmp_path: Path) -> None:
    settings = {name: value for name, value in variables("all").items() if name.startswith("CAKE_")}
    assert settings["CAKE_HOST"] == "0.0.0.0"
    settings |= {"CAKE_DATA_DIR": str(tmp_path), "CAKE_PORT": "0", "CAKE_WORKER_CAPACITY_STEPS_PER_S": "100"}
    command = (sys.executable, "-m", "service.cli", "serve")
    environ = {**os.environ, **settings}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as server:
        assert server.stdout is not None
        assert [server.stdout.readline()[:7], server.stdout.readline()] == ["CAKE is", "Ready for videos\n"]
        server.send_signal(signal.SIGTERM)
    assert server.returncode == 0


def test_the_sample_is_in_the_single_container() -> None:
    assert "COPY samples/people.mp4 /samples/people.mp4" in DOCKERFILE
    assert "!samples" in (ROOT / ".dockerignore").read_text()
