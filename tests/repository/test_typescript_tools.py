"""The TypeScript example names the versions that `make generated-clients` tests it with."""

import json

from tests.support.paths import ROOT


def test_the_typescript_example_uses_the_tools_that_it_is_tested_with() -> None:
    packages = (ROOT / "tests" / "generated_clients" / "packages.txt").read_text().split()
    wanted = json.loads((ROOT / "examples" / "typescript" / "package.json").read_text())["devDependencies"]
    assert sorted(packages) == sorted(f"{name}@{version}" for name, version in wanted.items())
