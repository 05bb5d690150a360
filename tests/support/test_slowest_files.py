"""The list of the slowest test files is kept in step with the tree."""

from tests.support.paths import ROOT
from tests.support.slowest_files import SLOWEST_FILES


def test_every_file_of_the_list_exists_once() -> None:
    assert [path for path in SLOWEST_FILES if not (ROOT / path).is_file()] == []
    assert len(set(SLOWEST_FILES)) == len(SLOWEST_FILES)
