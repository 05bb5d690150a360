"""Settings that Redis needs for CAKE to lose nothing; docs/scaling.md explains them."""

from typing import Any

import structlog
from redis.exceptions import RedisError

from service.store.redis.connect import Client

MAX_LAG_S = 10
_log = structlog.get_logger(__name__)


def problems(config: dict[str, str], *, has_replicas: bool) -> list[str]:
    """What is wrong with the settings, one sentence each. `has_replicas`: a Sentinel may promote a replica."""
    found = []
    if config.get("appendonly") == "no":
        found.append("appendonly is no: a restart of Redis loses sessions and events. Set it to yes.")
    policy = config.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        found.append(f"maxmemory-policy is {policy}: Redis may delete sessions. Set it to noeviction.")
    if has_replicas:
        if config.get("min-replicas-to-write") == "0":
            found.append("min-replicas-to-write is 0: a replaced primary accepts writes that are lost. Set it to 1.")
        elif int(config.get("min-replicas-max-lag", "0")) > MAX_LAG_S:
            found.append(f"min-replicas-max-lag is more than {MAX_LAG_S} s: set it to 2.")
    return found


async def warn_of_settings(client: Client, *, has_replicas: bool) -> None:
    """Log a warning for each unsuitable setting. Managed services may not permit CONFIG: then nothing is checked."""
    try:
        reply: Any = await client.config_get(
            "appendonly", "maxmemory-policy", "min-replicas-to-write", "min-replicas-max-lag"
        )
    except (RedisError, OSError) as error:
        _log.info("could not check the settings of Redis", error=type(error).__name__)
        return
    for problem in problems(dict(reply), has_replicas=has_replicas):
        _log.warning("unsuitable setting of Redis", problem=problem)
