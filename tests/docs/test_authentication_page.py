"""The commands of docs/authentication.md work in the order in which they are shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.page_driver import free_port, served
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "authentication.md").read_text()


def test_a_key_is_created_used_listed_and_revoked_as_the_page_says(tmp_path: Path) -> None:
    (commands,) = re.findall(r"^```sh\n(KEY=.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CAKE_DATA_DIR": str(tmp_path / "data"),
        "COLUMNS": "200",
    }
    port = free_port()
    with served(tmp_path / "data", port) as url:
        script = commands.replace("localhost:8000", url.removeprefix("http://")).replace("curl ", "curl -sS --fail ")
        assert script.count(str(port)) == 1
        done = subprocess.run(
            ["bash", "-euc", script], cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode == 0, done.stderr
    assert '"sessions":[]' in done.stdout
    assert "yard" in done.stdout
    assert "Revoked key" in done.stderr
