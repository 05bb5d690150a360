"""A real Redis on a free port of 127.0.0.1."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certificates import certificate_for
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError  # noqa: A004 - the names that redis gives them
from redis.retry import Retry
from running_server import free_port


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
        log = self._folder / "redis.log"
        self._process = subprocess.Popen(["redis-server", *self._arguments(), "--logfile", str(log), *self._options])
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
        # Otherwise a slow disk may keep what was answered from being there after a crash.
        common += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        if self._certificate is None:
            return ["--port", port, *common]
        pem = str(self._certificate)
        return ["--port", "0", "--tls-port", port, "--tls-cert-file", pem, "--tls-key-file", pem,
                "--tls-ca-cert-file", pem, "--tls-auth-clients", "no", *common]  # fmt: skip

    def stop(self) -> None:
        """As a crash would, but for what it has written."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it answer nothing, with its connections open."""
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
