"""Routes to create, list, change and revoke API keys, for keys with the scope `admin`."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from service.access.keys import ApiKey, new_key
from service.access.sight import require_limitable
from service.api.authentication import Administrator
from service.api.caller import Caller
from service.api.context import SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.json_body import JsonRoute
from service.errors import InvalidRequestError, MissingScopeError
from service.key_schemas import CreatedKey, KeyChange, KeyInfo, KeyList, KeyRequest, RevokedKey
from service.store.rejections import unknown_key
from service.store.revocation import revoke_key
from service.store.state_log import log_stopped

LIMITS = ("max_sessions", "requests_per_s", "max_stored_bytes")
router = APIRouter(route_class=JsonRoute, tags=["keys"], responses=problem_responses(*AUTH_STATUSES))


async def _holder_of_a_key(caller: Administrator) -> Caller:
    """While no key is required, anyone who reaches the server could give themselves a key that stays valid."""
    if caller.key is None:
        raise MissingScopeError(
            "Keys are managed with a key that has the scope `admin`. Create the first one with `cake keys create`."
        )
    return caller


KeyManager = Annotated[Caller, Depends(_holder_of_a_key)]
KeyId = Annotated[str, Path(description="Id of the key.", pattern=r"^[0-9a-f]{16}$")]


@router.get("/v1/keys", summary="List all API keys", responses=problem_responses(503))
async def list_keys(context: SharedContext, _caller: KeyManager) -> KeyList:
    return KeyList(keys=[KeyInfo(**_shown(key)) for key in await context.store.keys.all()])


@router.post(
    "/v1/keys",
    summary="Create an API key",
    description="The response contains the key, which is not shown again.",
    status_code=201,
    responses=problem_responses(422, 503, 507),
)
async def create_key(context: SharedContext, caller: KeyManager, response: Response, asked: KeyRequest) -> CreatedKey:
    now = datetime.now(UTC)
    _require_future(asked.expires_at, now)
    limits = context.settings.key_limits.model_copy(update=_limits_in(asked))
    shown, key = new_key(
        asked.name, asked.scopes, limits, created_at=now, expires_at=asked.expires_at, metadata=asked.metadata
    )
    await context.store.keys.create(key)
    context.audit.record("key.create", caller.actor, changed_key=key.id, changed_key_name=key.name)
    response.headers["Cache-Control"] = "no-store"
    return CreatedKey(key=shown, **_shown(key))


@router.patch(
    "/v1/keys/{key_id}",
    summary="Change scopes, limits or expiry of an API key",
    description="Takes effect with the next request of the key, and for open streams within half a minute. A change of "
    "`admin` or `metadata` disables the key's subscriptions, which could deliver events that the key may no longer "
    "see.",
    responses=problem_responses(404, 422, 503, 507),
)
async def change_key(context: SharedContext, caller: KeyManager, key_id: KeyId, asked: KeyChange) -> KeyInfo:
    _require_future(asked.expires_at, datetime.now(UTC))
    before: list[ApiKey] = []

    def change(key: ApiKey) -> ApiKey:
        before.append(key)
        return _changed(key, asked)

    changed = await context.store.keys.change(key_id, change)
    if before[-1].sight != changed.sight:
        await context.store.subscriptions.disable_all_of(key_id)
    what = ", ".join(sorted(asked.model_fields_set))
    context.audit.record("key.change", caller.actor, changed_key=key_id, changed_key_name=changed.name, what=what)
    return KeyInfo(**_shown(changed))


@router.delete(
    "/v1/keys/{key_id}",
    summary="Revoke an API key",
    description="Stops its sessions and disables their webhooks and its subscriptions, too. May be repeated.",
    responses=problem_responses(404, 422, 503),
)
async def delete_key(
    context: SharedContext,
    caller: KeyManager,
    key_id: KeyId,
    keep_sessions: Annotated[
        bool, Query(description="Let its sessions continue, and their events be delivered.")
    ] = False,
) -> RevokedKey:
    if await context.store.keys.find(key_id) is None:
        raise unknown_key(key_id)
    key, sessions = await revoke_key(context.store, key_id, now=datetime.now(UTC), keep_sessions=keep_sessions)
    stopped = len(sessions)
    log_stopped(sessions)
    known = {"changed_key": key.id, "changed_key_name": key.name}
    context.audit.record("key.revoke", caller.actor, **known, sessions_stopped=str(stopped))
    return RevokedKey(sessions_stopped=stopped, **_shown(key))


def _changed(key: ApiKey, asked: KeyChange) -> ApiKey:
    """Raises InvalidRequestError."""
    if key.person is not None:
        if asked.model_fields_set != {"revoked"}:
            raise InvalidRequestError(
                "A person has the scopes and limits of their role. Change the role in the file that CAKE_ROLES names."
            )
        return key.model_copy(update={"revoked_at": None})
    if key.revoked_at is not None or asked.revoked is not None:
        raise InvalidRequestError("Revoking a key is final. Create another one.")
    update: dict[str, Any] = {"limits": key.limits.model_copy(update=_limits_in(asked))}
    if asked.scopes is not None:
        update["scopes"] = frozenset(asked.scopes)
    update |= {name: getattr(asked, name) for name in ("expires_at", "metadata") if name in asked.model_fields_set}
    changed = key.model_copy(update=update)
    try:
        require_limitable(changed.scopes, changed.metadata)
    except ValueError as error:
        raise InvalidRequestError(f"The key {error}. Remove one of them.") from error
    return changed


def _limits_in(asked: KeyRequest | KeyChange) -> dict[str, float]:
    return {name: value for name in LIMITS if (value := getattr(asked, name)) is not None}


def _require_future(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise InvalidRequestError("`expires_at` is in the past. Revoke the key if it is to stop working now.")


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "kind": "key" if key.person is None else "person",
        "issuer": key.person and key.person.issuer,
        "scopes": sorted(key.scopes),
        "metadata": key.metadata,
        **key.limits.model_dump(),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }
