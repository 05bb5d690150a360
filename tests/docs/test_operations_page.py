"""docs/operations.md lists every metric, and its unit file starts the server as it is."""

import re
import shlex
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from service.observability.session_metrics import SessionMetrics
from service.observability.telemetry import ApiMetrics, WorkerMetrics
from service.setting_groups.syntax import variable
from service.settings import Settings
from tests.docs.test_documentation import check_command
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()


def metric_names() -> set[str]:
    registry = CollectorRegistry()
    ApiMetrics(registry)
    WorkerMetrics(registry)
    registry.register(SessionMetrics([], {}, 0, datetime.now(UTC)))
    suffixes = {"counter": "_total", "info": "_info"}
    return {family.name + suffixes.get(family.type, "") for family in registry.collect()}


def test_every_metric_is_listed_and_no_other() -> None:
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `cake_"))
    assert set(re.findall(r"`(cake_\w+)`", rows)) == metric_names()


def test_the_unit_file_runs_a_command_with_settings_that_exist() -> None:
    (unit,) = re.findall(r"^```ini\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    values = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    program, _, arguments = values["ExecStart"].partition(" ")
    assert program.endswith("/.venv/bin/cake")
    check_command(f"cake {arguments}", is_complete=True)
    settings = dict(pair.split("=", 1) for pair in shlex.split(values["Environment"]))
    known = {variable(name) for name in Settings.model_fields}
    assert {name for name in settings if name.startswith("CAKE_")} <= known
