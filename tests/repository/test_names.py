"""A public name stands for one thing, so that a search for it finds that."""

import re
from collections import defaultdict

from tests.support.paths import ROOT

PUBLIC = re.compile(r"^(?:class|def|async def) ([A-Za-z]\w*)", re.MULTILINE)


def test_no_two_modules_define_the_same_public_name() -> None:
    modules = defaultdict(set)
    for package in ("model", "service"):
        for path in (ROOT / package).rglob("*.py"):
            for name in PUBLIC.findall(path.read_text()):
                modules[name].add(str(path.relative_to(ROOT)))
    assert len(modules) > 1000
    # Each program starts in its `main`.
    assert {name: paths for name, paths in modules.items() if len(paths) > 1 and name != "main"} == {}
