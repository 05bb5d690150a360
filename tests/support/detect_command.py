"""`cake detect`, run in this process."""

import json

from tests.support.cake_command import run


def detect(*arguments: object) -> tuple[int, list[str], list[str]]:
    """Exit status, and the lines of stdout and stderr."""
    status, out, err = run("detect", *arguments)
    return status, out.splitlines(), err.splitlines()


def events(*arguments: object) -> list[dict[str, object]]:
    """What `cake detect --json` prints; it must succeed."""
    status, out, _ = detect(*arguments, "--json")
    assert status == 0
    return [json.loads(line) for line in out]
