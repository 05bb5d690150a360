"""The client's methods for models, against a real server."""

from pathlib import Path

import pytest

from cake_client import ApiError, AsyncClient
from tests.support.model_kit import tar_of, version_of
from tests.support.running_server import running_server


async def test_models_and_their_shadows_are_managed_with_asyncio(tmp_path: Path, model: Path) -> None:
    archives = [tmp_path / "first.tar", tmp_path / "second.tar"]
    for number, archive in enumerate(archives):
        archive.write_bytes(tar_of(version_of(model, refractory_s=0.2 + number)))
    async with running_server(tmp_path / "data") as server, AsyncClient(server.url) as client:
        first = await client.models.push("gate", archives[0])
        assert (first.origin, first.labels, first.shadow) == ("uploaded", ("kick", "punch"), None)
        followed = await client.models.push("gate", archives[1], shadow=True)
        assert (followed.version, followed.shadow is not None) == (first.version, True)
        found = await client.models.shadow("gate")
        assert (found.serving_version, found.labels["kick"].both, found.sessions) == (first.version, 0, ())
        promoted = await client.models.promote("gate")
        assert (promoted.version, (await client.models.get("gate")).version) == (found.version, found.version)
        with pytest.raises(ApiError, match="has no shadow"):
            await client.models.remove_shadow("gate")
        assert (await client.models.all()).default == "mocap"
        await client.models.remove("gate")
        with pytest.raises(ApiError, match="not_found"):
            await client.models.get("gate")
