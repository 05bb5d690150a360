"""The triggers on which the chart scales workers."""

import json
import re

import pytest

from service.store.redis.scripts import PREFIX
from tests.support.chart import Document, of_kind, template
from tests.support.paths import ROOT

REDIS: dict[str, tuple[str, Document]] = {
    "standalone": ("redis-streams", {"address": "redis:6379", "databaseIndex": "0"}),
    "sentinel": (
        "redis-sentinel-streams",
        {"addresses": "redis:6379", "databaseIndex": "0", "sentinelMaster": "main", "sentinelUsername": "guard"},
    ),
    "cluster": ("redis-cluster-streams", {"addresses": "redis:6379"}),
}


@pytest.mark.parametrize("mode", REDIS)
def test_workers_scale_on_the_queues_of_the_store(mode: str) -> None:
    values: Document = {
        "models": ["mocap", "yard"],
        "redisMode": mode,
        "redisTLS": True,
        "redisSentinelMaster": "main",
        "redisSentinelUsername": "guard",
        "redisPasswordSecret": {"name": "redis", "sentinelKey": "guard"},
    }
    documents = template("--set-json", f"worker.autoscaling={json.dumps(values)}")
    (scaled,) = of_kind(documents, "ScaledObject")
    kind, connection = REDIS[mode]
    assert {trigger["type"] for trigger in scaled["spec"]["triggers"]} == {kind}
    triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    queues = {f"{PREFIX}:queue:{pace}:{model}" for pace in ("realtime", "fast") for model in ("mocap", "yard")}
    assert {trigger["stream"] for trigger in triggers} == queues
    own = {"stream", "consumerGroup", "lagCount", "activationLagCount", "streamLength"}
    for trigger in triggers:
        assert all(isinstance(value, str) for value in trigger.values())
        assert {name: trigger[name] for name in trigger.keys() - own} == connection | {"enableTLS": "true"}
    script = (ROOT / "service" / "store" / "redis" / "lua" / "common.lua").read_text()
    waiting = [trigger for trigger in triggers if "lagCount" in trigger]
    assert {trigger["consumerGroup"] for trigger in waiting} == set(re.findall(r"GROUP, ORPHANS = '(\w+)'", script))
    # KEDA 2.16 and later refuse 0.
    assert all(int(trigger["activationLagCount"]) >= 1 for trigger in waiting)
    (authentication,) = of_kind(documents, "TriggerAuthentication")
    parameters = {one["parameter"]: one["key"] for one in authentication["spec"]["secretTargetRef"]}
    assert parameters == {"password": "password", "sentinelPassword": "guard"}
