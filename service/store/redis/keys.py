"""API keys and tickets in Redis."""

from collections.abc import Callable
from datetime import datetime

from service.access.keys import ApiKey
from service.store.reading import read_stored_key
from service.store.records import KeyUsage
from service.store.redis.replies import id_of, translated
from service.store.redis.scripts import Scripts, name_of
from service.store.rejections import key_name_taken, unknown_key


class RedisKeys:
    """Implements `service.store.key_protocol.Keys`."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._client = scripts.client

    async def create(self, key: ApiKey) -> None:
        status = await self._scripts.run("add_key", key.id, key.name, key.model_dump_json())
        if status == b"taken":
            raise key_name_taken(key.name)

    async def admit(self, key: ApiKey) -> ApiKey:
        await self._scripts.run("admit_key", key.id, key.model_dump_json())
        admitted = await self.find(key.id)
        if admitted is None:
            # It is there and cannot be read: it may have been revoked.
            raise unknown_key(key.id)
        return admitted

    async def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        while True:
            record = await translated(self._client.hget(name_of("keys"), key_id))
            key = self._parse(key_id, record)
            if record is None or key is None:
                raise unknown_key(key_id)
            changed = change(key)
            if await self._scripts.run("change_key", key_id, record, changed.model_dump_json()) == b"done":
                return changed

    async def all(self) -> list[ApiKey]:
        ids = await translated(self._client.lrange(name_of("keys", "order"), 0, -1))
        if not ids:
            return []
        records = await translated(self._client.hmget(name_of("keys"), ids))
        used = await translated(self._client.hmget(name_of("keys", "used"), ids))
        found = [self._parse(id_of(key_id), *stored) for key_id, *stored in zip(ids, records, used, strict=True)]
        return [key for key in found if key is not None]

    async def exist(self) -> bool:
        return bool(await translated(self._client.exists(name_of("keys"))))

    async def find(self, key_id: str) -> ApiKey | None:
        record = await translated(self._client.hget(name_of("keys"), key_id))
        return self._parse(key_id, record)

    def _parse(self, key_id: str, record: bytes | None, used: bytes | None = None) -> ApiKey | None:
        if record is None:
            return None
        read = self._scripts.reader.read
        key = read("key", key_id, lambda: read_stored_key(record))
        if key is None or used is None:
            return key
        used_at = read("key_use", key_id, lambda: datetime.fromisoformat(used.decode()))
        return key.model_copy(update={"last_used_at": used_at})

    async def revoke(self, id_or_name: str, *, now: datetime) -> ApiKey:
        found = await self.find(id_or_name)
        if found is None:
            key_id = await translated(self._client.hget(name_of("keys", "names"), id_or_name))
            found = None if key_id is None else await self.find(id_of(key_id))
        if found is None:
            raise unknown_key(id_or_name)
        revoked = found.model_copy(update={"revoked_at": found.revoked_at or now})
        await self._scripts.run("revoke_key", revoked.id, revoked.name, revoked.model_dump_json())
        return revoked

    async def note_used(self, key_id: str, *, now: datetime) -> None:
        await translated(self._client.hset(name_of("keys", "used"), key_id, now.isoformat()))

    async def usage(self, key_id: str) -> KeyUsage:
        sessions = await translated(self._client.hget(name_of("usage", "sessions"), key_id))
        stored = await translated(self._client.hget(name_of("usage", "bytes"), key_id))
        return KeyUsage(int(sessions or 0), int(stored or 0))

    async def add_ticket(self, digest: str, key_id: str, *, now: datetime, expires_at: datetime) -> None:
        lifetime_ms = max(1, round((expires_at - now).total_seconds() * 1000))
        of_key = name_of("tickets", key_id)
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.set(name_of("ticket", digest), f"{key_id} {expires_at.timestamp()}", px=lifetime_ms)
            pipe.sadd(of_key, digest)
            pipe.pexpire(of_key, lifetime_ms)
            await translated(pipe.execute())

    async def redeem_ticket(self, digest: str, *, now: datetime) -> str | None:
        return self._read_ticket(await translated(self._client.getdel(name_of("ticket", digest))), digest, now)

    async def find_ticket(self, digest: str, *, now: datetime) -> str | None:
        return self._read_ticket(await translated(self._client.get(name_of("ticket", digest))), digest, now)

    def _read_ticket(self, ticket: bytes | None, digest: str, now: datetime) -> str | None:
        if ticket is None:
            return None
        return self._scripts.reader.read("ticket", digest, lambda: _key_of(ticket, now))


def _key_of(ticket: bytes, now: datetime) -> str | None:
    key_id, expires_at = ticket.decode().split()
    return key_id if float(expires_at) > now.timestamp() else None
