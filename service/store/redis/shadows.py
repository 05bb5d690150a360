"""Starts of shadow versions in Redis: a hash of each session, and by version the set of its sessions."""

from collections.abc import Sequence
from functools import partial

from service.store.reading import parse_shadow_entry
from service.store.redis.replies import id_of, translated
from service.store.redis.scripts import Scripts, name_of
from service.store.rejections import unknown_session
from service.store.shadow_records import FollowedSpan, ShadowOfSession, ShadowStart, by_session

VERSION_FIELD = "version"


class RedisShadows:
    """Implements `service.store.shadow_records.Shadows`."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def add(
        self, key: str, session_id: str, span: FollowedSpan, starts: Sequence[ShadowStart], *, max_kept: int
    ) -> bool:
        entries = [(start.id, start.model_dump_json()) for start in starts]
        given = [argument for entry in ((span.id, span.model_dump_json()), *entries) for argument in entry]
        status = await self._scripts.run("add_shadow", key, session_id, max_kept, *given)
        if status == b"unknown":
            raise unknown_session()
        return bool(status == b"done")

    async def of_version(self, key: str) -> list[ShadowOfSession]:
        members = await translated(self._scripts.client.smembers(name_of("shadowed", key)))
        found: list[ShadowOfSession] = []
        for session_id in sorted(map(id_of, members)):
            fields = await translated(self._scripts.client.hgetall(name_of("shadow", session_id)))
            if fields.pop(VERSION_FIELD.encode(), b"") != key.encode():
                continue  # The session was deleted, or another version has followed it since.
            read = self._scripts.reader.read
            entries = [read("shadow", id_of(each), partial(parse_shadow_entry, row)) for each, row in fields.items()]
            found.append(by_session(session_id, [entry for entry in entries if entry is not None]))
        return found
