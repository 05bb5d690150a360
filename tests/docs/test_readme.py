"""The first commands of the README do what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.page_driver import free_port, served
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()


def block_with(text: str) -> str:
    block: str
    (block,) = [block for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL) if text in block]
    return block


@pytest.mark.slow
def test_a_video_submitted_as_the_readme_says_gives_events(tmp_path: Path) -> None:
    commands = block_with("examples/follow.py")
    assert commands.startswith(". .venv/bin/activate")
    commands = "\n".join(commands.splitlines()[1:])
    port = free_port()
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with served(tmp_path / "data", port, "people") as url:
        script = commands.replace("127.0.0.1:8000", url.removeprefix("http://"))
        assert script.count(str(port)) == 2
        done = subprocess.run(
            ["bash", "-euc", script], cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=180
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.endswith(" action.start fall") for line in lines), done.stdout
    assert lines[-1].endswith(" session.state completed")


def test_the_first_live_event_is_within_two_screens() -> None:
    before, event, _ = README.partition("0:11.2  fall  58 %")
    assert event
    assert len(before.splitlines()) < 2 * 40


def test_the_readme_says_how_to_get_cake_onto_the_path() -> None:
    assert ". .venv/bin/activate" in README


def test_the_guide_to_training_names_where_to_find_cpu_builds_of_pytorch() -> None:
    assert "CAKE_TORCH_INDEX=https://download.pytorch.org/whl/cpu" in (ROOT / "docs" / "train-your-own.md").read_text()
