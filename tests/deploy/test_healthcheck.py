"""The health check of the images."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.support.paths import ROOT
from tests.support.running_server import free_port

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
VARIABLES = {"api": "CAKE_PORT", "all": "CAKE_PORT", "worker": "CAKE_WORKER_PORT"}


@contextmanager
def livez(status: int) -> Iterator[int]:
    """A server whose `/livez` answers with this status, and its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def is_healthy(target: str, port: int) -> bool:
    found = re.search(rf"^FROM \S+ AS {target}\n.*?^HEALTHCHECK .*?CMD (\[.*?\])$", DOCKERFILE, re.M | re.S)
    assert found is not None
    program, path, *arguments = json.loads(found[1])
    assert program == "python"
    assert f"COPY docker/healthcheck.py {path}\n" in DOCKERFILE
    command = [sys.executable, str(ROOT / "docker" / "healthcheck.py"), *arguments]
    environ = {**os.environ, "http_proxy": f"http://127.0.0.1:{free_port()}", VARIABLES[target]: str(port)}
    return subprocess.run(command, check=False, env=environ, capture_output=True).returncode == 0


@pytest.mark.parametrize("target", VARIABLES)
def test_the_health_check_asks_the_port_that_is_set_and_ignores_proxies(target: str) -> None:
    with livez(200) as port:
        assert is_healthy(target, port)


@pytest.mark.parametrize("target", VARIABLES)
def test_a_container_that_does_not_answer_is_unhealthy(target: str) -> None:
    assert not is_healthy(target, free_port())
    with livez(503) as port:
        assert not is_healthy(target, port)


def test_the_health_check_is_in_the_build_context() -> None:
    assert "!docker/healthcheck.py" in (ROOT / ".dockerignore").read_text().splitlines()
