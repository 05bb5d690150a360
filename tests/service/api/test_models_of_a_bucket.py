"""Models are read from a folder of the bucket that the operator has named for models."""

from pathlib import Path

import httpx
import pytest

from service.storage.objects import Objects
from tests.support.api_kit import problem
from tests.support.bucket_server import bucket_server
from tests.support.model_kit import network_of, put, version_of
from tests.support.running_server import running_server

CARD = "# Gate\n\nAverage precision 0.9 on 40 test clips."


async def test_a_model_is_read_from_a_folder_of_the_bucket_for_models(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {**version_of(model), "README.md": CARD.encode(), "other.bin": b"x"}
    with bucket_server() as bucket:
        for name, value in bucket.environ.items():
            monkeypatch.setenv(name, value)
        objects = Objects.of_bucket("s3://videos")
        for folder in ("released/gate-3", "released/empty", "unreleased/gate"):
            for name, content in files.items() if "gate" in folder else [("README.md", b"")]:
                await objects.put(f"{folder}/{name}", content)
        large = version_of(model) | {"model.json": bytes(300_000)}
        for name, content in large.items():
            await objects.put(f"released/large/{name}", content)
        async with running_server(tmp_path / "data", model_bucket="s3://videos/released/") as server:

            async def put_folder(url: str) -> httpx.Response:
                return await server.http.put("/v1/models/gate", params={"url": url})

            answer = await put_folder("s3://videos/released/gate-3/")
            assert answer.status_code == 201, answer.text
            assert (answer.json()["version"], answer.json()["card"]) == (network_of(version_of(model)).version, CARD)
            # The same content by either way is the same version, kept in the server's own storage.
            assert (await put(server, files, status=200))["version"] == answer.json()["version"]
            for url in (
                "s3://videos/unreleased/gate",
                "s3://videos/released/../unreleased/gate",
                "s3://videos/releasedgate",
                "s3://other/released/gate-3",
                "s3://videos/released/gate-3?endpoint=http://127.0.0.1",
                "file:///etc",
            ):
                assert "url" in problem(await put_folder(url), 422, "invalid_request").detail
            for url, status, code in (
                ("s3://videos/released/empty", 422, "invalid_model"),
                ("s3://videos/released/large", 413, "too_large"),
            ):
                problem(await put_folder(url), status, code)
            bucket.stop()
            problem(await put_folder("s3://videos/released/gate-3"), 503, "store_unavailable")
        async with running_server(tmp_path / "other") as server:
            answer = await server.http.put("/v1/models/gate", params={"url": "s3://videos/released/gate-3"})
            assert "CAKE_MODEL_BUCKET" in problem(answer, 422, "invalid_request").detail
