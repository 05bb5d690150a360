"""`examples/typescript`: compiled against the description of a running server, then run by Node and in a page."""

import asyncio
import os
import shutil
import subprocess
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx
from playwright.sync_api import expect

from service.store import open_store
from tests.support.commands import require_command
from tests.support.page_driver import PATIENCE_MS, chromium, opened
from tests.support.paths import ROOT
from tests.support.running_server import Worker, child_server, free_port
from tests.support.video_server import serve_folder

URL = {"source": {"url": "http://a/b"}}


def run(*command: str, cwd: Path, **environ: str) -> None:
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def built(folder: Path, url: str) -> Path:
    generator = shutil.which("openapi-ts")
    assert generator is not None
    without = shutil.ignore_patterns("node_modules", "client", "follow.js")
    shutil.copytree(ROOT / "examples" / "typescript", folder, ignore=without)
    (folder / "node_modules").symlink_to(Path(generator).parents[1])
    run("npm", "run", "generate", cwd=folder, CAKE_URL=url)
    run("npm", "run", "build", cwd=folder)
    return folder


def shown_on_page(url: str, count: int) -> list[str]:
    with chromium() as browser, opened(browser, url) as page:
        lines = page.locator("#actions li")
        expect(lines).to_have_count(count, timeout=PATIENCE_MS)
        return lines.all_text_contents()


async def test_node_and_a_page_get_every_action_once_across_a_killed_server(tmp_path: Path) -> None:
    data_dir, port = tmp_path / "data", free_port()
    store = open_store(f"sqlite://{data_dir}/cake.db")
    worker = Worker(store)
    with serve_folder(tmp_path) as pages:
        environ = {"CAKE_ALLOWED_ORIGINS": f"http://{pages}"}
        async with child_server(data_dir, port=port, environ=environ) as child:
            folder = await asyncio.to_thread(built, tmp_path / "example", child.url)
            await worker.register()
            async with httpx.AsyncClient(base_url=child.url, timeout=120) as client:
                session_id = (await client.post("/v1/sessions", json=URL)).json()["id"]
                after = (await client.get("/v1/events")).json()["end"]
            await worker.claim()
            await worker.enter(session_id, "running")
            await worker.starts(session_id, [0.1, 0.2])
            node = await asyncio.create_subprocess_exec(
                require_command("node"), folder / "main.mjs", child.url, after, stdout=PIPE, cwd=folder
            )
            assert node.stdout is not None
            lines = [await node.stdout.readline() for _ in range(2)]
        await worker.starts(session_id, [0.3])
        async with child_server(data_dir, port=port, environ=environ) as child:
            lines.append(await node.stdout.readline())
            page = f"http://{pages}/example/page.html?url={child.url}&after={after}"
            assert len(await asyncio.to_thread(shown_on_page, page, 3)) == 3
        node.kill()
        await node.wait()
    assert [line.decode().split()[3] for line in lines] == ["0.1", "0.2", "0.3"]
    await store.close()
