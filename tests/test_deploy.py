"""What is deployed is valid, hardened, and speaks of metrics, queues and settings that there are."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from service.settings import Settings
from service.store.redis_scripts import PREFIX
from service.telemetry import ApiMetrics, WorkerMetrics

DEPLOY = Path(__file__).parent.parent / "deploy"
CHART = DEPLOY / "helm" / "cake"
COMPOSE = DEPLOY.parent / "docker-compose.yml"
KUBERNETES = "1.37"
CUSTOM = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule"}
Document = dict[str, Any]


def helm(*arguments: str) -> str:
    beside_python = Path(sys.executable).with_name("helm")
    program = str(beside_python) if beside_python.exists() else shutil.which("helm")
    assert program, "Helm is missing: `make helm` fetches it."
    done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(*values: str) -> list[Document]:
    settings = [part for value in values for part in ("--set", value)]
    documents = yaml.safe_load_all(helm("template", "r", str(CHART), *settings))
    return [document for document in documents if document]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


PLAIN = (
    "api.autoscaling.enabled=false",
    "worker.autoscaling.enabled=false",
    "networkPolicy.enabled=false",
    "monitoring.serviceMonitor.enabled=false",
    "monitoring.rules.enabled=false",
)
FULL = (
    "bucket.secretName=bucket",
    "worker.autoscaling.redisPasswordSecret.name=redis",
    "imagePullSecrets[0].name=pull",
    "monitoring.serviceMonitor.keySecret.name=cake-key",
    "monitoring.serviceMonitor.labels.release=prometheus",
    "worker.settings.CAKE_SOURCE_ALLOW=10.0.0.0/8",
)


@pytest.mark.parametrize("values", [(), PLAIN, FULL], ids=["as shipped", "plain", "full"])
def test_the_chart_renders_to_what_kubernetes_takes(values: tuple[str, ...]) -> None:
    helm("lint", "--strict", str(CHART), *[part for value in values for part in ("--set", value)])
    documents = rendered(*values)
    for document in documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(names) == len(set(names))
    assert len(of_kind(documents, "Deployment")) == 2


def test_containers_are_held_and_secrets_are_references() -> None:
    for deployment in of_kind(rendered(*FULL), "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        (container,) = pod["containers"]
        held = container["securityContext"]
        assert held["readOnlyRootFilesystem"]
        assert held["capabilities"] == {"drop": ["ALL"]}
        assert not held["allowPrivilegeEscalation"]
        assert container["resources"]["limits"]["memory"]
        assert {"livenessProbe", "readinessProbe", "startupProbe"} <= container.keys()
        (store,) = [one for one in container["env"] if one["name"] == "CAKE_STORE_URL"]
        assert "value" not in store
        assert container["envFrom"] == [{"secretRef": {"name": "bucket"}}]


@pytest.mark.parametrize("source", ["chart", "compose", "images"])
def test_every_setting_that_is_given_is_one(source: str) -> None:
    texts = {
        "chart": [path.read_text() for path in (CHART / "templates").iterdir()] + [(CHART / "values.yaml").read_text()],
        "compose": [COMPOSE.read_text()],
        "images": [(DEPLOY.parent / "docker" / "Dockerfile").read_text()],
    }[source]
    named = {name for text in texts for name in re.findall(r"\bCAKE_[A-Z_]+[A-Z]\b", text)}
    known = {f"CAKE_{name.upper()}" for name in Settings.model_fields}
    assert named - known <= {"CAKE_TORCH_INDEX", "CAKE_MINIO_PASSWORD"}
    assert named & known


def test_workers_scale_on_the_queues_that_the_store_keeps() -> None:
    (scaled,) = of_kind(rendered("worker.autoscaling.models={mocap,yard}"), "ScaledObject")
    triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    queues = {f"{PREFIX}:queue:{pace}:{model}" for pace in ("realtime", "fast") for model in ("mocap", "yard")}
    assert {trigger["stream"] for trigger in triggers} == queues
    script = (DEPLOY.parent / "service" / "store" / "lua" / "common.lua").read_text()
    groups = {trigger["consumerGroup"] for trigger in triggers if "lagCount" in trigger}
    assert groups == set(re.findall(r"GROUP, ORPHANS = '(\w+)'", script))


def metric_names() -> set[str]:
    """As a server and a worker tell them."""
    registry = CollectorRegistry()
    ApiMetrics(registry)
    WorkerMetrics(registry)
    names: set[str] = set()
    for family in registry.collect():
        names |= {family.name, f"{family.name}_total"} if family.type == "counter" else {family.name}
        if family.type == "histogram":
            names |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
    return names


def rules(name: str) -> list[Document]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_rules_alerts_and_panels_ask_for_what_is_measured() -> None:
    recorded = {rule["record"] for rule in rules("recording.yml")}
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "cake.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked = [rule["expr"] for name in ("recording.yml", "alerts.yml") for rule in rules(name)] + panels
    assert len(panels) > 20
    for expression in asked:
        assert set(re.findall(r"\bcake_\w+", expression)) <= metric_names(), expression
        assert set(re.findall(r"\bcake:[\w:]+", expression)) <= recorded, expression


def test_alerts_hold_under_promtool() -> None:
    for command in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "recording.yml", "alerts.yml"],
        ["test", "rules", "tests/alerts_test.yml"],
    ):
        done = subprocess.run(
            ["promtool", *command], cwd=DEPLOY / "prometheus", check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_to_do_and_is_tried() -> None:
    tried = (DEPLOY / "prometheus" / "tests" / "alerts_test.yml").read_text()
    for rule in rules("alerts.yml"):
        assert {"summary", "action"} <= rule["annotations"].keys()
        assert rule["alert"] in tried


def test_cameras_reach_neither_redis_nor_the_bucket() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    networks = {name: set(service["networks"]) for name, service in compose["services"].items()}
    assert {name for name, joined in networks.items() if "cameras" in joined} == {"mediamtx", "worker"}
    assert networks["redis"] == networks["minio"] == {"back"}
    assert compose["networks"]["back"]["internal"]
    allowed = compose["x-environment"]["CAKE_SOURCE_ALLOW"]
    assert compose["networks"]["cameras"]["ipam"]["config"] == [{"subnet": allowed}]
    assert all(port.startswith("127.0.0.1:") for one in compose["services"].values() for port in one.get("ports", ()))
