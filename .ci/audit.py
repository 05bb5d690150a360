"""`audit.py LOCK [NAME==VERSION …]`: known vulnerabilities of the pinned packages and the further ones.

Exit status 1 if there are any. Where the vulnerability database cannot be read, as on a machine without network, the
output says so and the exit status is 0.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MAX_S = 120
UV = Path(sys.executable).with_name("uv")
PIP_AUDIT = "pip-audit==2.10.1"
# Vulnerabilities that do not concern this software, each with the reason.
ACCEPTED: dict[str, str] = {}


def report(requirements: list[str]) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit found out about each package, or an empty list and the reason."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements))
        file.flush()
        options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
        tool = [str(UV), "tool", "run", "--from", PIP_AUDIT, "pip-audit", *options, "-r", file.name]
        done = subprocess.run(["timeout", str(MAX_S), *tool], check=False, capture_output=True, text=True)
    if not done.stdout.startswith("{"):
        lines = done.stderr.strip().splitlines() or [f"no answer within {MAX_S} s"]
        return [], lines[-1] if "Traceback" in done.stderr else lines[0]
    return json.loads(done.stdout)["dependencies"], ""


def summary(packages: list[dict[str, Any]], reason: str) -> tuple[str, int]:
    """The text to print and the exit status.

    pip-audit reports success when it skipped every package, because an index without vulnerability data served it.
    """
    scanned = [package for package in packages if "skip_reason" not in package]
    if not scanned:
        reason = reason or "the package index has no data about any package"
        return f"Vulnerability scan: NOT DONE, the database cannot be read from here ({reason}).", 0
    found = [
        f"{p['name']} {p['version']}: {one['id']}, fixed in {', '.join(one['fix_versions']) or 'no release'}"
        for p in scanned
        for one in p["vulns"]
        if not ACCEPTED.keys() & {one["id"], *one["aliases"]}
    ]
    skipped = [package["name"] for package in packages if package not in scanned]
    lines = [f"Vulnerability scan: {len(scanned)} packages, {len(found)} known vulnerabilities.", *found]
    if skipped:
        lines.append(f"Not in the database: {', '.join(skipped)}.")
    if found:
        lines.append("Update with `make lock UPGRADE=1`, or give the reason to accept it in .ci/audit.py.")
    return "\n".join(lines), 1 if found else 0


def main(lock: Path, *more: str) -> int:
    pins = [
        line.split(" ")[0] for line in lock.read_text().splitlines() if "==" in line and not line.startswith((" ", "#"))
    ]
    text, status = summary(*report([*pins, *more]))
    sys.stdout.write(f"{text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
