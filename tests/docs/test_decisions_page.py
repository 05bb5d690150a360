"""Every entry of docs/decisions.md has the form that its first lines ask for."""

import re

import pytest

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "decisions.md").read_text()
ENTRIES = [
    " ".join(entry.split()) for entry in re.findall(r"^- (\*\*.*?)(?=^- |^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
]


def test_every_bullet_is_a_decision() -> None:
    assert len(ENTRIES) == len(re.findall(r"^- ", PAGE, re.MULTILINE))
    assert len(ENTRIES) > 80


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry[2:42])
def test_a_decision_names_its_alternatives_and_its_date(entry: str) -> None:
    assert "*Considered:*" in entry
    assert re.search(r"\(\d{4}-\d\d-\d\d(, \d{4}-\d\d-\d\d)*\)", entry)
