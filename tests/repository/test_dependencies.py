"""Dependencies: the ranges in pyproject.toml, and the versions in the lock files of each supported Python version."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

PYTHON_VERSIONS = ("3.11", "3.12", "3.13")
LOCKED_EXTRAS = {
    "": ("build", "apprise", "otel"),
    "-train": ("build", "apprise", "otel", "train"),
    "-dev": ("build", "apprise", "otel", "train", "dev"),
}


@cache
def project() -> dict[str, Any]:
    content: dict[str, dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return content["project"]


def requirements(*extras: str) -> list[Requirement]:
    """The direct dependencies with these extras, without the project itself."""
    named = [*project()["dependencies"], *(line for e in extras for line in project()["optional-dependencies"][e])]
    return [r for r in map(Requirement, named) if r.name != project()["name"]]


def lock_file(python: str, kind: str) -> Path:
    return ROOT / "requirements" / f"py{python}{kind}.lock"


def test_every_dependency_has_an_upper_bound() -> None:
    unbounded = [
        str(r)
        for r in requirements("build", "apprise", "otel", "train", "dev")
        if not any(bound.operator in ("<", "<=", "==") for bound in r.specifier)
    ]
    assert not unbounded


@pytest.mark.parametrize("kind", LOCKED_EXTRAS)
@pytest.mark.parametrize("python", PYTHON_VERSIONS)
def test_a_lock_file_satisfies_the_project_on_its_python_version(python: str, kind: str) -> None:
    pins = re.findall(r"^([\w.-]+)==(\S+) \\$", lock_file(python, kind).read_text(), re.MULTILINE)
    locked = {canonicalize_name(name): version for name, version in pins}
    assert not [name for name in locked if name.startswith(("torch", "nvidia", "cuda", "triton"))]
    for requirement in requirements(*LOCKED_EXTRAS[kind]):
        if requirement.name != "torch":
            version = locked.get(canonicalize_name(requirement.name), "0")
            assert version in requirement.specifier, f"{requirement} is not locked: run `make lock`"


def test_everything_that_names_the_supported_python_versions_names_the_same() -> None:
    first, *others, last = PYTHON_VERSIONS
    assert f"Python {', '.join([first, *others])} or {last}" in (ROOT / "README.md").read_text()
    assert f"PYTHON_VERSIONS := {' '.join(PYTHON_VERSIONS)}\n" in (ROOT / "Makefile").read_text()
    major, minor = last.split(".")
    assert project()["requires-python"] == f">={first},<{major}.{int(minor) + 1}"
    assert {path.name for path in (ROOT / "requirements").glob("*.lock")} == {
        lock_file(python, kind).name for python in PYTHON_VERSIONS for kind in LOCKED_EXTRAS
    }
