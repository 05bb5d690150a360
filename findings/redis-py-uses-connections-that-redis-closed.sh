#!/usr/bin/env bash
# redis-py sends commands over idle connections that Redis has closed, while maintenance notifications are enabled.
#
# They are by default where the pool is given a host. The pool of the asyncio client then ignores that a connection is
# at its end, so after a restart of Redis one command fails for each connection that was idle. Pass
# `maint_notifications_config=MaintNotificationsConfig(enabled=False)`: the pool connects again before the command.
# Seen with redis-py 8.1.0, 2026-11-29. Needs redis-server; it listens on the loopback interface only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check redis==8.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import asyncio
import socket
import subprocess
import time

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError
from redis.maint_notifications import MaintNotificationsConfig

IDLE = 5
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    PORT = probe.getsockname()[1]


def start() -> subprocess.Popen[bytes]:
    command = ["redis-server", "--port", str(PORT), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", PORT)).close()
            return server
        except ConnectionRefusedError:
            time.sleep(0.02)


async def failures(**options: object) -> int:
    """Of as many commands as there are idle connections, those that fail after Redis was restarted."""
    server = start()
    pool = BlockingConnectionPool(max_connections=IDLE, host="127.0.0.1", port=PORT, retry=Retry(NoBackoff(), 0), **options)
    client = Redis.from_pool(pool)
    await asyncio.gather(*(client.ping() for _ in range(IDLE)))
    server.kill()
    server.wait()
    server = start()
    await asyncio.sleep(0.5)
    replies = await asyncio.gather(*(client.ping() for _ in range(IDLE)), return_exceptions=True)
    await client.aclose()
    server.kill()
    server.wait()
    return sum(isinstance(reply, ConnectionError) for reply in replies)


by_default = asyncio.run(failures())
without = asyncio.run(failures(maint_notifications_config=MaintNotificationsConfig(enabled=False)))
print(f"{by_default} of {IDLE} commands fail by default, {without} without maintenance notifications")
assert by_default == IDLE, "the behaviour has changed"
assert without == 0
PY
echo "as described"
