"""Compose, images and monitoring: valid, hardened, and consistent with the metrics and settings of the code."""

import json
import re
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from service.observability.session_metrics import SessionMetrics
from service.observability.telemetry import ApiMetrics, WorkerMetrics
from service.settings import Settings
from tests.support.commands import require_command
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "cake"
COMPOSE = DEPLOY.parent / "docker-compose.yml"
Document = dict[str, Any]


def test_every_page_that_the_deployments_name_exists() -> None:
    root = DEPLOY.parent
    files = [COMPOSE, root / "docker" / "Dockerfile", root / "Makefile", *CHART.rglob("*.yaml"), *CHART.rglob("*.md")]
    named = {page for file in files for page in re.findall(r"\bdocs/[\w-]+\.md", file.read_text())}
    assert "docs/proxies.md" in named
    assert [page for page in sorted(named) if not (root / page).exists()] == []


@pytest.mark.parametrize("source", ["chart", "compose", "images"])
def test_every_setting_of_the_deployments_exists(source: str) -> None:
    texts = {
        "chart": [path.read_text() for path in (CHART / "templates").iterdir()] + [(CHART / "values.yaml").read_text()],
        "compose": [COMPOSE.read_text()],
        "images": [(DEPLOY.parent / "docker" / "Dockerfile").read_text()],
    }[source]
    named = {name for text in texts for name in re.findall(r"\bCAKE_[A-Z_]+[A-Z]\b", text)}
    known = {f"CAKE_{name.upper()}" for name in Settings.model_fields}
    assert named - known <= {"CAKE_TORCH_INDEX", "CAKE_MINIO_PASSWORD"}
    assert named & known


def metric_names() -> set[str]:
    """The names that a server and a worker report."""
    registry = CollectorRegistry()
    ApiMetrics(registry)
    WorkerMetrics(registry)
    registry.register(SessionMetrics([], {}, 0, datetime.now(UTC)))
    names: set[str] = set()
    for family in registry.collect():
        names |= {family.name, f"{family.name}_total"} if family.type == "counter" else {family.name}
        if family.type == "histogram":
            names |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
    return names


def rules(name: str) -> list[Document]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_rules_alerts_and_panels_use_existing_metrics() -> None:
    recorded = {rule["record"] for rule in rules("recording.yml")}
    dashboards = [json.loads(path.read_text()) for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")]
    panels = [target["expr"] for one in dashboards for panel in one["panels"] for target in panel.get("targets", ())]
    panels += [variable["query"] for one in dashboards for variable in one["templating"]["list"]]
    assert {one["uid"] for one in dashboards} == {"cake", "cake-camera"}
    asked = [rule["expr"] for name in ("recording.yml", "alerts.yml") for rule in rules(name)] + panels
    assert len(panels) > 20
    for expression in asked:
        assert set(re.findall(r"\bcake_\w+", expression)) <= metric_names(), expression
        assert set(re.findall(r"\bcake:[\w:]+", expression)) <= recorded, expression


def test_the_dashboard_shows_events_by_label_and_the_deliveries_of_subscriptions() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "cake.json").read_text())
    shown = {panel["title"]: [target["expr"] for target in panel.get("targets", ())] for panel in dashboard["panels"]}
    assert any("by (type, model, label)" in expression for expression in shown["Events per minute"])
    assert any("cake_subscription_deliveries_total" in expression for expression in shown["Deliveries per minute"])


def test_counters_of_alerts_start_at_0_so_that_their_first_increase_is_seen() -> None:
    registry = CollectorRegistry()
    ApiMetrics(registry)
    WorkerMetrics(registry)
    selectors = [
        (name, dict(re.findall(r'(\w+)="(\w+)"', labels)))
        for rule in rules("alerts.yml")
        for name, labels in re.findall(r"increase\((cake_\w+)\{(.*?)\}", rule["expr"])
    ]
    assert len(selectors) >= 3
    for name, labels in selectors:
        samples = [sample for family in registry.collect() for sample in family.samples if sample.name == name]
        assert any(labels.items() <= sample.labels.items() for sample in samples), (name, labels)


@pytest.mark.parametrize(
    "arguments",
    [
        "check config prometheus.yml",
        "check rules recording.yml alerts.yml",
        "test rules tests/alerts_test.yml",
        # Evaluates the rules of a whole week.
        pytest.param("test rules tests/week_test.yml", marks=pytest.mark.slow),
    ],
)
def test_promtool_accepts_rules_and_alerts(arguments: str) -> None:
    done = subprocess.run(
        [require_command("promtool"), *arguments.split()],
        cwd=DEPLOY / "prometheus",
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_to_do_and_is_tested() -> None:
    tests = "".join(path.read_text() for path in (DEPLOY / "prometheus" / "tests").glob("*_test.yml"))
    for rule in rules("alerts.yml"):
        assert {"summary", "action"} <= rule["annotations"].keys()
        assert rule["alert"] in tests


def test_the_server_without_authentication_answers_under_its_service_name_only() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    assert compose["services"]["api"]["environment"]["CAKE_AUTH"] == "off"
    assert compose["services"]["api"]["environment"]["CAKE_ALLOWED_HOSTS"] == "api"
    assert compose["services"]["first-session"]["command"][-1].startswith("http://api:8000/")


def test_cameras_reach_neither_redis_nor_the_bucket() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    networks = {name: set(service["networks"]) for name, service in compose["services"].items()}
    assert {name for name, joined in networks.items() if "cameras" in joined} == {"mediamtx", "worker"}
    assert networks["redis"] == networks["minio"] == {"back"}
    assert compose["networks"]["back"]["internal"]
    allowed = compose["x-environment"]["CAKE_SOURCE_ALLOW"]
    assert compose["networks"]["cameras"]["ipam"]["config"] == [{"subnet": allowed}]
    assert all(port.startswith("127.0.0.1:") for one in compose["services"].values() for port in one.get("ports", ()))
