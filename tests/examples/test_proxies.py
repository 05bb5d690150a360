"""The proxy configurations of `examples/` in front of a real server: uploads, streams, links and the page."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.examples.test_examples import EXAMPLES, program
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import stored_uploads
from tests.support.chart import of_kind, template
from tests.support.commands import require_command
from tests.support.running_server import Running, free_port, running_server, until

Proxy = Callable[[Running, Path], AbstractAsyncContextManager[str]]


def replaced(text: str, replacements: dict[str, str]) -> str:
    for written, used in replacements.items():
        assert text.count(written) == 1, written
        text = text.replace(written, used)
    return text


@asynccontextmanager
async def listening(port: int, *command: object, **environ: str) -> AsyncIterator[None]:
    """A program that listens on `port` before the body runs."""
    async with program(*command, **environ) as process:
        async with asyncio.timeout(120):
            while True:
                assert process.returncode is None, await process.communicate()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
        yield


@asynccontextmanager
async def nginx_prefix(server: Running, folder: Path) -> AsyncIterator[str]:
    example = replaced((EXAMPLES / "nginx_prefix.conf").read_text(), {"http://127.0.0.1:8000": server.url})
    async with nginx(example, folder) as url:
        yield f"{url}/cake"


# What ingress-nginx makes of its annotations, and what it writes into each location.
ANNOTATIONS = {
    "proxy-body-size": "client_max_body_size {};",
    "proxy-request-buffering": "proxy_request_buffering {};",
    "proxy-buffering": "proxy_buffering {};",
    "proxy-http-version": "proxy_http_version {};",
    "proxy-read-timeout": "proxy_read_timeout {}s;",
    "proxy-send-timeout": "proxy_send_timeout {}s;",
}
CONTROLLER = """
    proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $cake_connection;
"""


@asynccontextmanager
async def ingress_nginx(server: Running, folder: Path) -> AsyncIterator[str]:
    """The ingress that the chart makes of the example, as the controller translates it for nginx."""
    documents = await asyncio.to_thread(template, "-f", str(EXAMPLES / "ingress-nginx.yaml"))
    [ingress] = of_kind(documents, "Ingress")
    [path] = [path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    prefix = "nginx.ingress.kubernetes.io/"
    annotations = ingress["metadata"]["annotations"].items()
    directives = "\n".join(ANNOTATIONS[name.removeprefix(prefix)].format(value) for name, value in annotations)
    async with nginx(f"location {path} {{ proxy_pass {server.url}; {CONTROLLER} {directives} }}", folder) as url:
        yield f"{url}{path}"


@asynccontextmanager
async def nginx(example: str, folder: Path) -> AsyncIterator[str]:
    """nginx with these locations, and the map of nginx.conf."""
    port = free_port()
    connection = (EXAMPLES / "nginx.conf").read_text()
    connection = connection[connection.index("map ") : connection.index("server {")]
    (folder / "example.conf").write_text(example)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}"
        f" http {{ access_log off; {paths} {connection}"
        f" server {{ listen 127.0.0.1:{port}; include {folder}/example.conf; }} }}"
    )
    async with listening(port, require_command("nginx"), "-e", "stderr", "-c", folder / "nginx.conf"):
        yield f"http://localhost:{port}"


def caddy(path: str) -> Proxy:
    @asynccontextmanager
    async def started(server: Running, folder: Path) -> AsyncIterator[str]:
        root_port, prefix_port = free_port(), free_port()
        replacements = {
            "\ncake.example.org {": f"\nhttp://localhost:{root_port} {{",
            "\nexample.org {": f"\nhttp://localhost:{prefix_port} {{",
            "127.0.0.1:8000": server.url.removeprefix("http://"),
            "127.0.0.1:8001": server.url.removeprefix("http://"),
        }
        example = replaced((EXAMPLES / "Caddyfile").read_text(), replacements)
        (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{example}")
        port = prefix_port if path else root_port
        command = (require_command("caddy"), "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile")
        async with listening(port, *command, XDG_CONFIG_HOME=str(folder), XDG_DATA_HOME=str(folder)):
            yield f"http://localhost:{port}{path}"

    return started


PROXIES = [
    pytest.param(nginx_prefix, "/cake", id="nginx below a path"),
    pytest.param(ingress_nginx, "/cake", id="ingress-nginx"),
    pytest.param(caddy(""), "", id="caddy"),
    pytest.param(caddy("/cake"), "/cake", id="caddy below a path"),
]


@pytest.mark.parametrize(("proxy", "root_path"), PROXIES)
async def test_everything_passes_the_proxy(proxy: Proxy, root_path: str, tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", root_path=root_path, auth="required") as server:
        key = await make_key(server, "sessions:write", "sessions:read", "events:read")
        async with (
            proxy(server, tmp_path) as url,
            httpx.AsyncClient(base_url=url, headers=bearer(key), timeout=120) as client,
        ):
            origin = httpx.URL(url).copy_with(path="/")
            submitted = await client.post(f"{url}/v1/uploads", files={"file": b"x" * 2_000_000})
            assert submitted.status_code == 202, submitted.text
            # As a client follows links: relative to the origin.
            location = origin.join(submitted.headers["location"])
            session = (await client.get(location)).json()
            events = str(origin.join(session["links"]["events"]))
            await server.worker.claim()
            await server.worker.enter(session["id"], "running")
            async with connect(events.replace("http", "ws", 1), additional_headers=bearer(key)) as socket:
                assert [json.loads(await socket.recv())["id"] for _ in range(2)] == ["0-0", "0-1"]
                await server.worker.starts(session["id"], [0.1])
                assert json.loads(await socket.recv())["id"] == "100-0"
            async with client.stream("GET", events, headers={"Accept": "text/event-stream"}) as stream:
                lines = stream.aiter_lines()
                while await anext(lines) != "id: 100-0":
                    pass
            assert (await client.get(f"{url}/", headers={"Authorization": ""})).status_code == 200
            assert (await client.get(f"{url}/static/app.js")).status_code == 200
            assert (await client.head(f"{url}/livez")).status_code == 200
            description = (await client.get(f"{url}/openapi.json")).json()
            base = httpx.URL(f"{url}/openapi.json").join(description["servers"][0]["url"])
            assert (await client.get(f"{str(base).rstrip('/')}/v1/models")).status_code == 200
            assert (await client.get(f"{url}/v1/sessions/")).status_code == 404


@pytest.mark.parametrize(("proxy", "root_path"), PROXIES)
async def test_a_body_passes_the_proxy_as_it_is_sent(proxy: Proxy, root_path: str, tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", root_path=root_path, auth="required") as server:
        key = await make_key(server, "sessions:write")
        arrived = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nvideo"
            await arrived.wait()
            yield b"\r\n--b--\r\n"

        headers = {**bearer(key), "Content-Type": "multipart/form-data; boundary=b"}
        async with (
            proxy(server, tmp_path) as url,
            httpx.AsyncClient(timeout=120) as client,
            asyncio.TaskGroup() as group,
        ):
            posting = client.post(f"{url}/v1/uploads", content=body(), headers=headers)
            sending = group.create_task(posting)
            # The server has begun to store a body whose end was not sent yet.
            await until(lambda: stored_uploads(server) != [])
            arrived.set()
            assert (await sending).status_code == 202
