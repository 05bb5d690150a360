"""docs/api.md lists every code and shows every event as the API has them."""

import json
import re
from typing import get_args

import pytest

from service.errors import ServiceError
from service.event_schemas import EVENT, EventType
from service.problems import ProblemCode
from service.schemas import FailureCode
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()


def table_after(heading: str) -> dict[str, list[str]]:
    """The rows of the first table after a heading: the code of the first cell, and the other cells."""
    rows = re.search(rf"^#+ {heading}\n.*?\n((?:\|[^\n]*\n)+)", PAGE, re.MULTILINE | re.DOTALL)
    assert rows
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1].splitlines()]
    return {first.strip("`"): rest for first, *rest in cells[2:]}


def errors(base: type[ServiceError] = ServiceError) -> list[type[ServiceError]]:
    """All kinds of errors, also those of a kind."""
    return [error for kind in base.__subclasses__() for error in (kind, *errors(kind))]


def statuses() -> dict[str, int]:
    return {error.code: error.status for error in errors()}


def test_every_error_code_is_listed_with_status_cause_remedy_and_whether_to_retry() -> None:
    listed = table_after("Errors")
    assert listed.keys() == set(get_args(ProblemCode))
    for code, (status, cause, remedy, retry) in listed.items():
        assert int(status) == statuses()[code], code
        assert cause, code
        assert remedy, code
        assert retry in ("yes", "no", "once"), code


def test_every_failure_code_is_listed() -> None:
    listed = table_after("Failure codes")
    assert listed.keys() == set(get_args(FailureCode))
    assert all(len(row) == 3 and all(row) for row in listed.values())


def test_the_example_of_an_error_is_one() -> None:
    example = next(json.loads(block) for block in blocks() if '"about:blank"' in block)
    assert statuses()[example["code"]] == example["status"]
    (title,) = [error.title for error in errors() if error.code == example["code"]]
    assert title == example["title"]


def blocks() -> list[str]:
    return re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("kind", get_args(EventType))
def test_each_type_of_event_has_one_complete_example(kind: str) -> None:
    (example,) = [block for block in map(json.loads, blocks()) if block["type"] == kind]
    event = EVENT.validate_python(example)
    assert event.type == kind
    assert example.keys() == event.model_dump().keys()


@pytest.mark.slow
def test_the_python_example_prints_the_starts_and_ends_of_the_sample(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(example, "docs/api.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("ActionStart(label='fall'")
    assert printed[1].startswith("ActionEnd(label='fall'")
