"""A real Redis on a free port of 127.0.0.1."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,  # noqa: A004 - the name that redis gives it
    ResponseError,
)
from redis.retry import Retry

from tests.support.certificates import certificate_for
from tests.support.commands import require_command
from tests.support.running_server import free_port


class RedisServer:
    """Its data lie in `folder` when it is stopped, and are there again when it starts."""

    def __init__(self, folder: Path, *options: str, sentinel: bool = False, certificate: Path | None = None) -> None:
        self._folder = folder
        self._options = options
        self._sentinel = sentinel
        self._certificate = certificate
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        once = Retry(NoBackoff(), 0)
        if self._certificate is None:
            return Redis(host="127.0.0.1", port=self.port, socket_timeout=10, retry=once)
        return Redis(host="127.0.0.1", port=self.port, ssl=True, ssl_ca_certs=str(self._certificate), retry=once)

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self._folder / "redis.log"
        self._process = subprocess.Popen(
            [require_command("redis-server"), *self._arguments(), "--logfile", str(log), *self._options]
        )
        with self.client() as client:
            for _ in range(500):
                try:
                    client.ping()
                    return
                except AuthenticationError:
                    return
                except ConnectionError:
                    time.sleep(0.02)
        raise TimeoutError(f"Redis did not start: {log.read_text()}")

    def _arguments(self) -> list[str]:
        port, common = str(self.port), ["--bind", "127.0.0.1", "--dir", str(self._folder)]
        if self._sentinel:
            return [str(self._folder / "sentinel.conf"), "--sentinel", "--port", port, *common]
        # Otherwise, with a slow disk, acknowledged data may be missing after a crash.
        common += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        if self._certificate is None:
            return ["--port", port, *common]
        pem = str(self._certificate)
        return ["--port", "0", "--tls-port", port, "--tls-cert-file", pem, "--tls-key-file", pem,
                "--tls-ca-cert-file", pem, "--tls-auth-clients", "no", *common]  # fmt: skip

    def stop(self) -> None:
        """Like a crash, but written data are kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it stop responding, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def empty(self) -> None:
        with self.client() as client:
            client.flushall()


@contextmanager
def redis_server(
    folder: Path, *options: str, sentinel: bool = False, certificate: Path | None = None
) -> Iterator[RedisServer]:
    """Running; `options` are of the command redis-server. A certificate's file holds its key, too."""
    server = RedisServer(folder, *options, sentinel=sentinel, certificate=certificate)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@dataclass(frozen=True)
class ReplicatedRedis:
    """A primary, its replicas and their Sentinels. Methods block."""

    servers: tuple[RedisServer, ...]
    sentinels: tuple[RedisServer, ...]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/main/0"

    def primary_port(self) -> int:
        with self.sentinels[0].client() as client:
            return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])

    def was_demoted(self, server: int = 0) -> bool:
        """Whether that server is a replica of the primary: until then it may accept writes, and loses them."""
        try:
            with self.servers[server].client() as client:
                found = client.info("replication")
        except ConnectionError:
            return False  # a server that is being demoted closes its connections
        is_replica = found["role"] == "slave" and found["master_port"] == self.primary_port()
        return bool(is_replica and found["master_link_status"] == "up")

    def fail_over(self) -> None:
        """A planned switch, as operators do for upgrades, as soon as the Sentinel finds a replica in order."""
        with self.sentinels[0].client() as client:
            while True:
                try:
                    client.execute_command("SENTINEL", "FAILOVER", "main")
                    return
                except ResponseError:
                    time.sleep(0.2)


@contextmanager
def replicated_redis(
    folder: Path, *options: str, replicas: int = 1, sentinels: int = 1, down_after_s: float = 1.0
) -> Iterator[ReplicatedRedis]:
    """The first server is the primary. `options` are of the command redis-server, for each server."""
    with ExitStack() as stack:
        servers = [stack.enter_context(redis_server(_made(folder / "redis-0"), *options))]
        replica_of = ("--replicaof", "127.0.0.1", str(servers[0].port), "--repl-diskless-sync-delay", "0")
        for number in range(1, replicas + 1):
            each = redis_server(_made(folder / f"redis-{number}"), *replica_of, *options)
            servers.append(stack.enter_context(each))
        for server in servers[1:]:
            with server.client() as client:
                while client.info("replication")["master_link_status"] != "up":
                    time.sleep(0.05)
        watching = []
        for number in range(sentinels):
            each_folder = _made(folder / f"sentinel-{number}")
            (each_folder / "sentinel.conf").touch()
            watching.append(stack.enter_context(redis_server(each_folder, sentinel=True)))
        for sentinel in watching:
            with sentinel.client() as client:
                quorum = sentinels // 2 + 1
                client.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", servers[0].port, quorum)
                client.execute_command("SENTINEL", "SET", "main", "down-after-milliseconds", round(down_after_s * 1000))
                # Within twice this time, Sentinels do not begin another failover.
                client.execute_command("SENTINEL", "SET", "main", "failover-timeout", 10_000)
        for sentinel in watching:
            with sentinel.client() as client:
                while not _knows(client, replicas, sentinels):
                    time.sleep(0.05)
        yield ReplicatedRedis(tuple(servers), tuple(watching))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _knows(sentinel: Redis, replicas: int, sentinels: int) -> bool:
    """Whether it has found the other Sentinels and all replicas, and that they are in order."""
    found: Any = sentinel.sentinel_slaves("main")
    in_order = [one for one in found if one["master-link-status"] == "ok" and not one["is_disconnected"]]
    state: Any = sentinel.sentinel_master("main")
    return bool(len(in_order) == replicas and state["num-other-sentinels"] == sentinels - 1)


@contextmanager
def redis_of(kind: str, folder: Path) -> Iterator[str]:
    """The address of a Redis with a password, of one behind a Sentinel, of a cluster, or of one that speaks TLS."""
    if kind == "password":
        with redis_server(folder, "--requirepass", "p@ss") as server:
            yield f"redis://default:p%40ss@127.0.0.1:{server.port}/0"
    elif kind == "cluster":
        with redis_server(folder, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                    time.sleep(0.02)
            yield f"redis+cluster://127.0.0.1:{server.port}"
    elif kind == "sentinel":
        (folder / "sentinel").mkdir()
        (folder / "sentinel" / "sentinel.conf").touch()
        with redis_server(folder) as primary, redis_server(folder / "sentinel", sentinel=True) as sentinel:
            with sentinel.client() as client:
                client.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", primary.port, 1)
            yield f"redis+sentinel://127.0.0.1:{sentinel.port}/main/0"
    else:
        certificate = certificate_for("IP:127.0.0.1", folder)
        with redis_server(folder, certificate=certificate) as server:
            yield f"rediss://127.0.0.1:{server.port}/0?ca={certificate}"
