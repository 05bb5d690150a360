"""docs/settings.md agrees with the code."""

from tests.support.cake_command import run
from tests.support.paths import ROOT


def test_the_settings_page_is_current() -> None:
    status, out, _ = run("settings", "--markdown")
    assert status == 0
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == out, "run: cake settings --markdown > docs/settings.md"
