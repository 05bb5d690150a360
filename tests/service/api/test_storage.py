"""`GET /v1/storage`: how much space uploads take, as far as the caller may know."""

from pathlib import Path

from service.storage.disk import Disk
from tests.support.access_kit import LIMITS, bearer, make_key
from tests.support.running_server import running_server


async def test_without_keys_everybody_sees_the_size_of_all_files_and_the_disk(tmp_path: Path) -> None:
    async with running_server(tmp_path, keep_ended_s=86_400) as server:
        await server.worker.register()
        for size_bytes in (1_000_000, 500_000):
            answer = await server.http.post("/v1/sessions", files={"file": bytes(size_bytes)})
            assert answer.status_code == 202
        found = (await server.http.get("/v1/storage")).json()
    assert (found["stored_bytes"], found["quota_bytes"], found["keep_ended_s"]) == (1_500_000, None, 86_400)
    assert 0 < found["free_bytes"] <= Disk(tmp_path, 0).free_bytes() + 2**30


async def test_a_key_sees_its_own_uploads_and_quota_but_not_the_disk(tmp_path: Path) -> None:
    async with running_server(tmp_path, keep_ended_s=0) as server:
        await server.worker.register()
        mine, other = [await make_key(server, "sessions:write", "sessions:read") for _ in range(2)]
        for key, size_bytes in ((mine, 1_000_000), (other, 500_000)):
            await server.http.post("/v1/sessions", files={"file": bytes(size_bytes)}, headers=bearer(key))
        found = (await server.http.get("/v1/storage", headers=bearer(mine))).json()
        quota_bytes = LIMITS.max_stored_bytes
        assert found == {
            "stored_bytes": 1_000_000,
            "quota_bytes": quota_bytes,
            "free_bytes": None,
            "keep_ended_s": None,
        }
        admin = await make_key(server, "admin")
        assert (await server.http.get("/v1/storage", headers=bearer(admin))).json()["stored_bytes"] == 1_500_000
