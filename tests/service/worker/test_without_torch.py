"""Serving and `cake detect` work where torch cannot be imported."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.session_kit import Reported
from tests.support.tiny_server import tiny_server


@pytest.fixture
def without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process that starts from now on fails when it imports torch."""
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "torch.py").write_text("raise ModuleNotFoundError('torch is blocked in this test')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "blocked"), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.slow
@pytest.mark.usefixtures("without_torch")
async def test_server_worker_and_decoder_find_the_actions(tmp_path: Path, model: Path, video: Path) -> None:
    (tmp_path / "data").mkdir()
    files = {"file": ("v.mp4", await asyncio.to_thread(video.read_bytes), "video/mp4")}
    async with (
        tiny_server(tmp_path / "data", model) as server,
        httpx.AsyncClient(base_url=server.url, timeout=120) as client,
        asyncio.timeout(100),
    ):
        links = (await client.post("/v1/sessions", files=files)).raise_for_status().json()["links"]
        async with client.stream("GET", links["events"], headers={"Accept": "text/event-stream"}) as events:
            assert any(["action.start" in line async for line in events.aiter_lines()])


@pytest.mark.usefixtures("without_torch")
@pytest.mark.parametrize("command", ["detect", "models list", "--help"])
def test_a_command_that_does_not_train_works(command: str, model: Path, video: Path, expected: list[Reported]) -> None:
    options = [str(video), "--model", str(model)] if command == "detect" else []
    cake = (sys.executable, "-m", "service.cli.main", *command.split(), *options)
    done = subprocess.run(cake, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= (len(expected) if command == "detect" else 2)
