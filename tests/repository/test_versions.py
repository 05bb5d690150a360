"""The version, the changelog and the package's metadata agree."""

import re
import tomllib
from datetime import date

from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_changelog_has_a_dated_section_of_the_version_first() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert versions[0][0] == PROJECT["version"]
    dates = [date.fromisoformat(day) for _, day in versions]
    assert dates == sorted(dates, reverse=True)


def test_both_packages_declare_their_types() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in ("model", "service"))


def test_every_supported_python_is_a_classifier() -> None:
    versions = {name.rpartition(" ")[2] for name in PROJECT["classifiers"] if name.startswith("Programming Language")}
    makefile = (ROOT / "Makefile").read_text()
    listed = re.search(r"^PYTHON_VERSIONS := (.*)$", makefile, re.MULTILINE)
    assert listed
    assert versions == set(listed[1].split())
