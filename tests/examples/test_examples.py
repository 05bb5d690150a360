"""The programs of `examples/`, run as their users run them."""

import asyncio
import os
import ssl
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from service.store import open_store
from tests.support.access_kit import bearer, make_key
from tests.support.certificates import certificate_for
from tests.support.commands import require_command
from tests.support.paths import ROOT
from tests.support.running_server import Running, Worker, child_server, free_port, running_server, until

EXAMPLES = ROOT / "examples"
URL = {"source": {"url": "http://a/b"}}


@asynccontextmanager
async def program(*command: object, **environ: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=PIPE, stderr=PIPE, env={**os.environ, **environ}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ids(process: Process, count: int) -> list[str]:
    """The first word of each of the next lines."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        lines = [await process.stdout.readline() for _ in range(count)]
    assert all(lines), (await process.stderr.read()).decode() if process.stderr else lines
    return [line.decode().split()[0] for line in lines]


def follower(language: str) -> tuple[object, ...]:
    if language == "Python":
        return sys.executable, EXAMPLES / "follow.py"
    return require_command("node"), EXAMPLES / "follow.mjs"


@pytest.mark.slow
@pytest.mark.parametrize("language", ["Python", "JavaScript"])
async def test_a_client_gets_every_event_once_across_a_killed_server(language: str, tmp_path: Path) -> None:
    data_dir, port = tmp_path / "data", free_port()
    store = open_store(f"sqlite://{data_dir}/cake.db")
    worker = Worker(store)
    async with child_server(data_dir, port=port) as child:
        await worker.register()
        async with httpx.AsyncClient(base_url=child.url, timeout=120) as client:
            session_id = (await client.post("/v1/sessions", json=URL)).json()["id"]
        await worker.claim()
        await worker.enter(session_id, "running")
        await worker.starts(session_id, [0.1, 0.2])
        following = program(*follower(language), child.url, session_id)
        process = await following.__aenter__()
        seen = await ids(process, 4)
    await worker.starts(session_id, [0.3])
    async with child_server(data_dir, port=port):
        await worker.starts(session_id, [0.4])
        await worker.enter(session_id, "completed")
        seen += await ids(process, 3)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    await following.__aexit__(None, None, None)
    assert seen == [event.id for event in await store.log.read_events(session_id, limit=100)]
    await store.close()


@pytest.mark.parametrize("language", ["Python", "JavaScript"])
async def test_a_client_ends_with_an_error_when_there_is_no_such_session(language: str, tmp_path: Path) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"
    async with (
        running_server(tmp_path / "data") as server,
        program(*follower(language), server.url, unknown) as process,
    ):
        _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode
    assert b"404" in err


@pytest.mark.parametrize("arguments", [(), ("http://127.0.0.1:1",), ("127.0.0.1", "x"), ("ftp://a", "x")])
@pytest.mark.parametrize("language", ["Python", "JavaScript"])
async def test_a_client_prints_its_usage_for_invalid_arguments(language: str, arguments: tuple[str, ...]) -> None:
    async with program(*follower(language), *arguments) as process:
        _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert err.startswith(b"usage: ")
    assert b"Traceback" not in err


@pytest.mark.parametrize("language", ["Python", "JavaScript"])
async def test_a_client_prints_one_line_when_its_key_is_refused(language: str, tmp_path: Path) -> None:
    async with (
        running_server(tmp_path / "data", auth="required") as server,
        program(*follower(language), server.url, "00000000-0000-0000-0000-000000000000") as process,
    ):
        _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert err.count(b"\n") == 1
    assert b": 401: " in err


@pytest.mark.parametrize("language", ["Python", "JavaScript"])
async def test_a_client_prints_why_a_session_failed(language: str, tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        session = await server.submit()
        await server.worker.claim()
        await server.worker.enter(session.id, "failed", code="decode_failed", detail="The video is damaged.")
        async with program(*follower(language), server.url, session.id) as process:
            out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out.decode().endswith(" failed decode_failed The video is damaged.\n")


@pytest.mark.parametrize(
    ("arguments", "secret"),
    [((), "whsec_MDAw"), (("http",), "whsec_MDAw"), (("0",), ""), (("0",), "whsec_?"), (("99999",), "whsec_MDAw")],
    ids=["no port", "invalid port", "no secret", "invalid secret", "impossible port"],
)
async def test_the_webhook_receiver_explains_invalid_arguments(arguments: tuple[str, ...], secret: str) -> None:
    command = (sys.executable, EXAMPLES / "webhook_receiver.py", *arguments)
    async with program(*command, CAKE_WEBHOOK_SECRET=secret) as process:
        _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert b"Traceback" not in err


async def test_the_webhook_receiver_verifies_and_prints_each_event_once(tmp_path: Path) -> None:
    port = free_port()
    async with running_server(tmp_path / "data", deliver_webhooks=True) as server:
        session = await server.submit(webhook={"url": f"http://127.0.0.1:{port}/"})
        assert session.webhook is not None
        assert session.webhook.secret is not None
        receiver = program(
            *(sys.executable, EXAMPLES / "webhook_receiver.py", port), CAKE_WEBHOOK_SECRET=session.webhook.secret
        )
        async with receiver as process:
            await server.worker.claim()
            await server.worker.enter(session.id, "running")
            await server.worker.starts(session.id, [0.1])
            await server.worker.enter(session.id, "completed")
            expected = [event.id for event in await server.worker.store.log.read_events(session.id, limit=100)]
            assert await ids(process, len(expected)) == expected
            async with httpx.AsyncClient(timeout=120) as client:
                forged = await client.post(f"http://127.0.0.1:{port}/", content=b"{}")
            assert forged.status_code == 400


async def test_the_webhook_receiver_rejects_malformed_signatures_and_continues() -> None:
    port, secret = free_port(), "whsec_" + "MDAw" * 8
    command = (sys.executable, EXAMPLES / "webhook_receiver.py", port)
    async with program(*command, CAKE_WEBHOOK_SECRET=secret) as process:
        headers = [(b"webhook-id", b"1"), (b"webhook-timestamp", str(int(time.time())).encode())]
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=10), timeout=120) as client:
            for signature in (b"nonsense", b"v1,MTIz,NDU2", b"v1,x", b"v2,MTIz", b"v1,\xe9", b"v1,"):
                answer = await client.post(
                    f"http://127.0.0.1:{port}/", content=b"{}", headers=[*headers, (b"webhook-signature", signature)]
                )
                assert answer.status_code == 400, signature
        process.kill()
        assert b"Traceback" not in (await process.communicate())[1]


@asynccontextmanager
async def nginx(server: Running, folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """The example's configuration in front of `server`: its address, and the certificate."""
    certificate, port = certificate_for("DNS:localhost", folder), free_port()
    example = (EXAMPLES / "nginx.conf").read_text()
    for written, used in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/cake.crt": str(certificate),
        "/etc/nginx/cake.key": str(certificate),
        "http://127.0.0.1:8000": server.url,
    }.items():
        assert example.count(written) == 1, written
        example = example.replace(written, used)
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "example.conf").write_text(example)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr;"
        f" events {{}} http {{ access_log off; {paths} include {folder}/example.conf; }}"
    )
    command = (require_command("nginx"), "-e", "stderr", "-c", folder / "nginx.conf")
    async with program(*command) as process:
        await until(lambda: (folder / "pid").exists() or process.returncode is not None)
        assert process.returncode is None, await process.communicate()
        yield f"https://localhost:{port}", certificate


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


async def test_uploads_and_events_pass_the_nginx_configuration(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", trusted_proxies="127.0.0.1") as server:
        key = await make_key(server, "sessions:write", "sessions:read", "events:read")
        async with (
            nginx(server, tmp_path) as (url, certificate),
            httpx.AsyncClient(
                base_url=url, verify=ssl.create_default_context(cafile=certificate), headers=bearer(key), timeout=120
            ) as client,
        ):
            response = await client.post("/v1/sessions", files={"file": b"x" * 2_000_000})
            assert response.status_code == 202, response.text
            session_id = response.json()["id"]
            command = (sys.executable, EXAMPLES / "follow.py", url, session_id)
            async with program(*command, CAKE_KEY=key, SSL_CERT_FILE=str(certificate)) as process:
                assert await ids(process, 1) == ["0-0"]
                await server.worker.claim()
                await server.worker.enter(session_id, "running")
                await server.worker.starts(session_id, [0.1])
                assert await ids(process, 2) == ["0-1", "100-0"]
            headers = {"Accept": "text/event-stream"}
            async with client.stream("GET", f"/v1/sessions/{session_id}/events", headers=headers) as stream:
                lines = stream.aiter_lines()
                assert "id: 0-0" in [await anext(lines) for _ in range(4)]
