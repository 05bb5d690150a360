"""The vulnerability scan of `make lint`."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.repository.test_dependencies import project
from tests.support.paths import ROOT

SCRIPT = ROOT / ".ci" / "audit.py"
LOCK = ROOT / "requirements" / "py3.11.lock"
Package = dict[str, Any]
FOUND: Package = {
    "name": "pillow",
    "version": "13.0.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["13.0.1"], "aliases": ["CVE-1"], "description": "…"}],
}
CLEAN: Package = {"name": "numpy", "version": "2.4.0", "vulns": []}
SKIPPED: Package = {"name": "av", "skip_reason": "not found"}


def summary(packages: list[Package], accepted: dict[str, str] | None = None) -> tuple[str, int]:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    audit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(audit)
    audit.ACCEPTED.update(accepted or {})
    text, status = audit.summary(packages, "")
    return str(text), int(status)


def test_a_known_vulnerability_fails_the_scan_and_is_named() -> None:
    text, status = summary([FOUND, CLEAN, SKIPPED])
    assert status == 1
    assert "pillow 13.0.0: PYSEC-1, fixed in 13.0.1" in text
    assert "Not in the database: av." in text


def test_a_vulnerability_is_accepted_by_any_of_its_names() -> None:
    for name in ("PYSEC-1", "CVE-1"):
        assert summary([FOUND], {name: "a reason"})[1] == 0


def test_a_scan_that_skipped_every_package_is_not_reported_as_clean() -> None:
    text, status = summary([SKIPPED])
    assert status == 0
    assert "NOT DONE" in text


def test_a_machine_without_network_passes_with_a_note(tmp_path: Path) -> None:
    environ = {**os.environ, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_TOOL_DIR": str(tmp_path)}
    command = [sys.executable, str(SCRIPT), str(LOCK), "torch==2.13.0"]
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "NOT DONE" in done.stdout


@pytest.mark.parametrize("target", ["lint", "sbom"])
def test_scan_and_package_list_include_pytorch_which_no_lock_has(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True)
    (torch,) = [line for line in project()["optional-dependencies"]["train"] if line.startswith("torch")]
    assert torch in done.stdout
