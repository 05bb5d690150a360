"""The Helm chart: what it renders is valid and hardened, and every value takes effect."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import Settings
from tests.support.chart import CHART, Document, environment, of_kind, pods, run_helm, template, with_values

KUBERNETES = "1.37"
CUSTOM = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule"}
GIGABYTE = 1024**3

PLAIN: Document = {
    "api.autoscaling.enabled": False,
    "worker.autoscaling.enabled": False,
    "networkPolicy.enabled": False,
    "monitoring.serviceMonitor.enabled": False,
    "monitoring.rules.enabled": False,
    "serviceAccount.create": False,
}
FULL: Document = {
    "fullnameOverride": "cam",
    "nameOverride": "cameras",
    "commonLabels": {"team": "x"},
    "image.api.digest": f"sha256:{'0' * 64}",
    "image.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "pull"}],
    "bucket.secretName": "bucket",
    "authorities.configMapName": "authorities",
    "serviceAccount.annotations": {"a": "b"},
    "settings.CAKE_TRACES": True,
    "api.settings.CAKE_TRACES": False,
    "api.settings.CAKE_AUTH": "off",
    "api.allowedHosts": ["lb.example.org"],
    "api.service.annotations": {"a": "b"},
    "api.data.storageClassName": "fast",
    "api.terminationGracePeriodSeconds": 99,
    "worker.data.sizeLimit": "5Gi",
    "worker.autoscaling.redisUsername": "cake",
    "worker.autoscaling.redisPasswordSecret": {"name": "redis", "sentinelKey": "sentinel", "caKey": "ca.crt"},
    "ingress.enabled": True,
    "ingress.className": "nginx",
    "ingress.annotations": {"a": "b"},
    "ingress.hosts": ["cake.example.org"],
    "ingress.path": "/cake",
    "ingress.tls": [{"hosts": ["cake.example.org"], "secretName": "cake-tls"}],
    "monitoring.serviceMonitor.keySecret.name": "cake-key",
    "monitoring.serviceMonitor.labels": {"release": "prometheus"},
    "monitoring.rules.labels": {"release": "prometheus"},
    "affinity": {"nodeAffinity": {}},
    "api.affinity": {"podAffinity": {}},
    "priorityClassName": "low",
    "api.priorityClassName": "high",
}
for of in ("", "api.", "worker."):
    scope = of.removesuffix(".") or "all"
    FULL |= {
        f"{of}nodeSelector": {scope: "yes"},
        f"{of}tolerations": [{"key": scope, "operator": "Exists"}],
        f"{of}podAnnotations": {scope: "yes"},
        f"{of}podLabels": {scope: "yes"},
        f"{of}extraEnv": [{"name": "HTTPS_PROXY", "value": scope}, {"name": f"FOR_{scope.upper()}", "value": "yes"}],
        f"{of}envFrom": [{"configMapRef": {"name": scope}}],
        f"{of}extraVolumes": [{"name": scope, "configMap": {"name": scope}}],
        f"{of}extraVolumeMounts": [{"name": scope, "mountPath": f"/{scope}"}],
    }
CASES = {"as shipped": {}, "plain": PLAIN, "full": FULL}


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_the_chart_renders_valid_objects(values: Document) -> None:
    linted = run_helm("lint", "--strict", str(CHART), *with_values(values))
    assert linted.returncode == 0, linted.stdout + linted.stderr
    documents = template(*with_values(values))
    for document in documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(names) == len(set(names))
    assert len(of_kind(documents, "Deployment")) == 2


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_containers_are_confined_and_secrets_are_references(values: Document) -> None:
    for pod in pods(template(*with_values(values))).values():
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        (container,) = pod["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not security["allowPrivilegeEscalation"]
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"]["ephemeral-storage"]
        assert {"livenessProbe", "readinessProbe", "startupProbe"} <= container.keys()
        assert "value" not in environment(pod)["CAKE_STORE_URL"]


@pytest.mark.slow
def test_every_value_reaches_an_object() -> None:
    full = template(*with_values(FULL))
    without = {name: {other: value for other, value in FULL.items() if other != name} for name in FULL}
    assert [name for name, values in without.items() if template(*with_values(values)) == full] == []


def test_the_schema_describes_the_values_and_nothing_else() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values: Document, described: Document, path: str) -> None:
        if "properties" in described:
            assert described["additionalProperties"] is False
            assert values.keys() == described["properties"].keys() - {"global"}, path
            for name, value in values.items():
                if isinstance(value, dict):
                    compare(value, described["properties"][name], f"{path}.{name}")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")


MISTAKES: dict[str, tuple[str, Any]] = {
    "additional properties 'work'": ("work.replicas", 2),
    "additional properties 'redisAdress'": ("worker.autoscaling.redisAdress", "redis:6379"),
    "at '/worker/autoscaling/redisMode'": ("worker.autoscaling.redisMode", "sentinels"),
    "redisSentinelMaster": ("worker.autoscaling.redisMode", "sentinel"),
    "at '/api/auth'": ("api.auth", "requried"),
    "at '/settings': additional properties 'cake_models'": ("settings.cake_models", "mocap"),
    "at '/settings/CAKE_MODELS'": ("settings.CAKE_MODELS", ["mocap"]),
    "settings.CAKE_PORT": ("api.settings.CAKE_PORT", 9000),
    "at '/worker/resources': additional properties 'request'": ("worker.resources.request.cpu", 1),
    "at '/nodeSelector/ssd'": ("nodeSelector.ssd", True),
    "at '/api/service/port'": ("api.service.port", "http"),
}


@pytest.mark.parametrize("named", MISTAKES)
def test_a_mistake_in_the_values_is_an_error_that_names_it(named: str) -> None:
    path, value = MISTAKES[named]
    done = run_helm("template", "r", str(CHART), *with_values({path: value}))
    assert done.returncode != 0
    assert named in done.stderr


NUMBERS: dict[str, Any] = {
    "CAKE_KEEP_ENDED_S": 604800,
    "CAKE_MAX_DURATION_S": 9999999,
    "CAKE_MAX_UPLOAD_BYTES": 21474836480,
    "CAKE_KEY_MAX_STORED_BYTES": 1099511627776,
    "CAKE_SNAPSHOT_HZ": 0.5,
    "CAKE_SCORES_KEEP_S": 12345678.25,
    "CAKE_DECODER_MAX_BYTES": 2**53,
    "CAKE_WORKER_MAX_SESSIONS": 0,
    "CAKE_TRACES": False,
}


@pytest.mark.parametrize("how", ["file", "json", "set"])
def test_numbers_keep_their_digits(how: str, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"settings": NUMBERS}))
    options = {
        "file": ["-f", str(tmp_path / "values.yaml")],
        "json": ["--set-json", f"settings={json.dumps(NUMBERS)}"],
        "set": [part for name, value in NUMBERS.items() for part in ("--set", f"settings.{name}={json.dumps(value)}")],
    }[how]
    for pod in pods(template(*options)).values():
        given = environment(pod)
        assert {name: given[name]["value"] for name in NUMBERS} == {
            name: json.dumps(value) for name, value in NUMBERS.items()
        }


def test_a_variable_is_given_once_and_the_most_specific_value_wins() -> None:
    values: Document = {
        "settings": {"CAKE_AUTH": "required", "CAKE_TRACES": True, "CAKE_SNAPSHOT_HZ": 2, "CAKE_MODELS": "mocap"},
        "api.settings": {"CAKE_AUTH": "off", "CAKE_TRACES": False, "CAKE_SNAPSHOT_HZ": 0, "CAKE_MODELS": ""},
        "extraEnv": [{"name": "CAKE_LOG_LEVEL", "value": "INFO"}, {"name": "AWS_REGION", "value": "eu-west-1"}],
        "api.extraEnv": [{"name": "CAKE_LOG_LEVEL", "value": "DEBUG"}],
        "worker.extraEnv": [{"name": "CAKE_STORE_URL", "value": "redis://elsewhere"}],
    }
    documents = pods(template(*with_values(values)))
    server, worker = environment(documents["api"]), environment(documents["worker"])
    assert [server[f"CAKE_{name}"]["value"] for name in ("AUTH", "TRACES", "SNAPSHOT_HZ", "MODELS", "LOG_LEVEL")] == [
        *("off", "false", "0", "", "DEBUG")
    ]
    assert [worker[f"CAKE_{name}"]["value"] for name in ("TRACES", "LOG_LEVEL", "STORE_URL")] == [
        *("true", "INFO", "redis://elsewhere")
    ]
    assert server["AWS_REGION"]["value"] == "eu-west-1"


def test_private_authorities_are_mounted_and_trusted() -> None:
    for pod in pods(template(*with_values({"authorities.configMapName": "own"}))).values():
        assert environment(pod)["CAKE_SOURCE_CA"]["value"] == "/etc/cake/authorities/ca.crt"
        assert {"name": "authorities", "configMap": {"name": "own"}} in pod["volumes"]
        assert "/etc/cake/authorities" in {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}


def test_the_audit_log_goes_to_the_output_of_the_container() -> None:
    path = environment(pods(template())["api"])["CAKE_AUDIT_LOG"]["value"]
    program = """
import os, sys
from pathlib import Path
from service.observability.audit import AuditActor, AuditLog
AuditLog(Path(sys.argv[1])).record("session.delete", AuditActor(key=None, key_name="me", address=None), session="x")
"""
    with subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE, text=True) as container:
        assert container.stdout is not None
        in_container = path.replace("/proc/1/", f"/proc/{container.pid}/")
        subprocess.run([sys.executable, "-c", program, in_container], check=True)
        container.kill()
        assert json.loads(container.stdout.readline())["session"] == "x"


def data_bytes(component: str, values: Document) -> int:
    (volume,) = [one for one in pods(template(*with_values(values)))[component]["volumes"] if one["name"] == "data"]
    return int(volume["emptyDir"]["sizeLimit"])


@pytest.mark.parametrize("upload_bytes", [2 * GIGABYTE, 30 * GIGABYTE])
def test_the_data_folder_holds_what_the_limits_allow(upload_bytes: int) -> None:
    values: Document = {"api.settings.CAKE_MAX_UPLOAD_BYTES": upload_bytes, "settings.CAKE_WORKER_MAX_SESSIONS": 3}
    assert data_bytes("worker", values) == 3 * upload_bytes + GIGABYTE
    assert data_bytes("api", values) == max(upload_bytes, 20 * GIGABYTE) + GIGABYTE


def test_the_default_size_of_the_data_folder_follows_the_defaults_of_the_program() -> None:
    defaults = {name: Settings.model_fields[name].default for name in ("max_upload_bytes", "key_max_stored_bytes")}
    sessions = Settings.model_fields["worker_max_sessions"].default
    assert data_bytes("api", {}) == max(defaults.values()) + GIGABYTE
    assert data_bytes("worker", {}) == sessions * defaults["max_upload_bytes"] + GIGABYTE


def test_servers_answer_under_the_names_of_their_service_and_ingress_only() -> None:
    values: Document = {"ingress.hosts": ["cake.example.org"], "api.allowedHosts": ["lb.example.org"]}
    allowed = environment(pods(template("--namespace", "video", *with_values(values)))["api"])["CAKE_ALLOWED_HOSTS"]
    service = ["r-api", "r-api.video", "r-api.video.svc", "r-api.video.svc.cluster.local"]
    assert allowed["value"].split(",") == [*service, "cake.example.org", "lb.example.org"]


def test_an_ingress_below_a_path_sets_the_prefix_of_the_servers() -> None:
    documents = template(*with_values({"ingress.enabled": True, "ingress.path": "/cake"}))
    (ingress,) = of_kind(documents, "Ingress")
    assert ingress["spec"]["rules"][0]["http"]["paths"][0]["path"] == "/cake"
    assert environment(pods(documents)["api"])["CAKE_ROOT_PATH"]["value"] == "/cake"


@pytest.mark.parametrize(("limit", "paths"), [(100, ["/metrics", "/metrics/sessions"]), (0, ["/metrics"])])
def test_metrics_of_sessions_are_scraped_where_they_are_on(limit: int, paths: list[str]) -> None:
    monitors = of_kind(template(*with_values({"api.settings.CAKE_SESSION_METRICS": limit})), "ServiceMonitor")
    scraped = [[endpoint["path"] for endpoint in monitor["spec"]["endpoints"]] for monitor in monitors]
    assert scraped == [paths, ["/metrics"]]


def test_neither_servers_nor_workers_reach_metadata_services() -> None:
    policies = of_kind(template(), "NetworkPolicy")
    assert len(policies) == 2
    for policy in policies:
        blocks = [to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule.get("to", ()) if "ipBlock" in to]
        exceptions = {block["cidr"]: set(block["except"]) for block in blocks}
        assert "169.254.0.0/16" in exceptions["0.0.0.0/0"]
        assert {"fe80::/10", "fd00:ec2::254/128"} <= exceptions["::/0"]
