"""API keys and tickets in Redis."""

from datetime import datetime

from service.access.keys import ApiKey
from service.errors import InvalidRequest, NotFound
from service.store.keys import Usage
from service.store.redis_connect import Client
from service.store.redis_scripts import Scripts, key, translated


class RedisKeyStore:
    """Implements `service.store.keys.KeyStore`, see there."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._scripts = Scripts(client)

    async def create_key(self, api_key: ApiKey) -> None:
        answer = await self._scripts.run("add_key", api_key.id, api_key.name, api_key.model_dump_json())
        if answer == b"taken":
            raise InvalidRequest(
                f"There is a key named {api_key.name!r} already; choose another name, or revoke it first."
            )

    async def list_keys(self) -> list[ApiKey]:
        ids = await translated(self._client.lrange(key("keys", "order"), 0, -1))
        if not ids:
            return []
        records = await translated(self._client.hmget(key("keys"), ids))
        return [ApiKey.model_validate_json(record) for record in records if record is not None]

    async def has_keys(self) -> bool:
        return bool(await translated(self._client.exists(key("keys"))))

    async def find_key(self, key_id: str) -> ApiKey | None:
        record = await translated(self._client.hget(key("keys"), key_id))
        return None if record is None else ApiKey.model_validate_json(record)

    async def revoke_key(self, id_or_name: str, *, now: datetime) -> ApiKey:
        found = await self.find_key(id_or_name)
        if found is None:
            key_id = await translated(self._client.hget(key("keys", "names"), id_or_name))
            found = None if key_id is None else await self.find_key(key_id.decode())
        if found is None:
            raise NotFound(f"There is no key with the id or name {id_or_name!r}; `cake keys list` shows all.")
        revoked = found.model_copy(update={"revoked_at": found.revoked_at or now})
        await self._scripts.run("revoke_key", revoked.id, revoked.name, revoked.model_dump_json())
        return revoked

    async def key_usage(self, key_id: str) -> Usage:
        sessions = await translated(self._client.hget(key("usage", "sessions"), key_id))
        stored = await translated(self._client.hget(key("usage", "bytes"), key_id))
        return Usage(int(sessions or 0), int(stored or 0))

    async def add_ticket(self, digest: str, key_id: str, *, now: datetime, expires_at: datetime) -> None:
        lifetime_ms = max(1, round((expires_at - now).total_seconds() * 1000))
        of_key = key("tickets", key_id)
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.set(key("ticket", digest), f"{key_id} {expires_at.timestamp()}", px=lifetime_ms)
            pipe.sadd(of_key, digest)
            pipe.pexpire(of_key, lifetime_ms)
            await translated(pipe.execute())

    async def redeem_ticket(self, digest: str, *, now: datetime) -> str | None:
        ticket = await translated(self._client.getdel(key("ticket", digest)))
        if ticket is None:
            return None
        key_id, expires_at = ticket.decode().split()
        return key_id if float(expires_at) > now.timestamp() else None
