"""Uploaded models in Redis: one hash, by the keys of their versions."""

from collections.abc import Sequence
from functools import partial

from service.store.model_records import UploadedModel
from service.store.reading import parse_model
from service.store.redis.replies import id_of, translated
from service.store.redis.scripts import Scripts, name_of
from service.store.rejections import model_in_use, model_limit


class RedisModels:
    """Implements `service.store.protocols.Models`."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def put(self, model: UploadedModel, *, max_kept: int) -> None:
        status = await self._scripts.run("put_model", model.key, model.model_dump_json(), max_kept)
        if status == b"full":
            raise model_limit(max_kept)

    async def all(self) -> list[UploadedModel]:
        rows = await translated(self._scripts.client.hgetall(name_of("models")))
        read = self._scripts.reader.read
        found = [read("model", id_of(key), partial(parse_model, record)) for key, record in rows.items()]
        return sorted((each for each in found if each is not None), key=lambda each: each.uploaded_at)

    async def delete(self, keys: Sequence[str]) -> None:
        sessions = await self._scripts.run("delete_models", *keys)
        if sessions:
            raise model_in_use(int(sessions))
