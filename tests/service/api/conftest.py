"""Servers that keep uploads and clips in a folder, and one that keeps them in a bucket."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.bucket_server import bucket_server
from tests.support.running_server import Running, running_server


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data") as running:
        yield running


@pytest_asyncio.fixture(params=["folder", "bucket"])
async def server_of_blobs(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    if request.param == "folder":
        async with running_server(tmp_path / "data") as running:
            yield running
        return
    with bucket_server() as bucket:
        for name, value in bucket.environ.items():
            monkeypatch.setenv(name, value)
        async with running_server(tmp_path / "data", blob_url=bucket.url) as running:
            yield running
