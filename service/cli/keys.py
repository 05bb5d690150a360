"""`cake keys`: create, list and revoke API keys in the store. The server need not be running."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from service.access.scopes import Scope
from service.cli.terminal import FAILED, MISUSED, fail, read_settings

if TYPE_CHECKING:
    from service.access.keys import ApiKey
    from service.settings import Settings
    from service.store.protocols import Store

T = TypeVar("T")
MAX_DAYS = 36_500.0

keys_app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")
DataDir = Annotated[
    Path | None,
    typer.Option(help="Data folder of the server. Default: CAKE_DATA_DIR, or `data`.", show_default=False),
]
_SCOPES = ", ".join(Scope)


@keys_app.command()
def create(
    name: Annotated[str, typer.Option(help="Display name of the key: who or what uses it.")],
    scope: Annotated[
        list[Scope], typer.Option(metavar="SCOPE", help=f"What the key allows; may be repeated. One of {_SCOPES}.")
    ],
    max_sessions: Annotated[
        int | None,
        typer.Option(help="Session limit. Default: CAKE_KEY_MAX_SESSIONS.", show_default=False),
    ] = None,
    requests_per_s: Annotated[
        float | None,
        typer.Option(help="Rate limit per server process. Default: CAKE_KEY_REQUESTS_PER_S.", show_default=False),
    ] = None,
    max_stored_bytes: Annotated[
        int | None,
        typer.Option(help="Storage quota of all uploads. Default: CAKE_KEY_MAX_STORED_BYTES.", show_default=False),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Limit the key to the sessions of every key with such metadata; may be repeated.",
        ),
    ] = None,
    expires_in_days: Annotated[
        float | None,
        typer.Option(min=0, max=MAX_DAYS, help="Days until the key expires. Default: never.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Create a key and print it. It cannot be shown again. Once a key exists, every request needs one."""
    from pydantic import ValidationError

    from service.access.keys import new_key
    from service.access.sight import require_limitable
    from service.cli.metadata import values_of
    from service.validation_messages import explain_validation_error

    limits = read_settings(
        key_max_sessions=max_sessions, key_requests_per_s=requests_per_s, key_max_stored_bytes=max_stored_bytes
    ).key_limits
    limit = values_of(metadata)
    try:
        require_limitable(scope, limit)
    except ValueError as error:
        fail(f"the key {error}", MISUSED)
    try:
        now = datetime.now(UTC)
        expires_at = None if expires_in_days is None else now + timedelta(days=expires_in_days)
        shown, key = new_key(name, scope, limits, created_at=now, expires_at=expires_at, metadata=limit)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--name {name!r}" if first["loc"][0] == "name" else "--metadata"
        fail(f"{option} {explain_validation_error(first)}", MISUSED)
    new_folder = _missing_database(read_settings(data_dir=data_dir))
    _in_store(data_dir, lambda store: store.keys.create(key))
    _record(data_dir, "key.create", key)
    where = f" in {new_folder}, a new database that no server has used" if new_folder else ""
    typer.echo(f"Created key {key.id} ({key.name}){where}. Store it safely: it cannot be shown again.", err=True)
    typer.echo(shown)


@keys_app.command("list")
def print_keys(data_dir: DataDir = None) -> None:
    """List all keys, without their secrets."""
    from service.cli.tables import print_table

    _require_database(data_dir)
    keys = _in_store(data_dir, lambda store: store.keys.all())
    print_table(("id", "name", "scopes", "limits", "created", "last used"), map(_row, keys))


@keys_app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID|NAME", help="The key's id or name.")],
    keep_sessions: Annotated[
        bool, typer.Option("--keep-sessions", help="Let its sessions continue and its webhooks be delivered.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Revoke a key, stop its sessions and disable their webhooks. Keys with the scope admin still see the sessions."""
    from service.store.revocation import revoke_key

    now = datetime.now(UTC)
    _require_database(data_dir)

    async def revoke_in(store: Store) -> tuple[ApiKey, int]:
        named = [known for known in await store.keys.all() if key in (known.id, known.name)]
        # A name may be used again once its key was revoked.
        id_or_name = named[-1].id if named and all(known.revoked_at for known in named) else key
        found, sessions = await revoke_key(store, id_or_name, now=now, keep_sessions=keep_sessions)
        return found, len(sessions)

    revoked, stopped = _in_store(data_dir, revoke_in)
    _record(data_dir, "key.revoke", revoked, sessions_stopped=str(stopped))
    said = f"Revoked key {revoked.id} ({revoked.name})"
    if revoked.revoked_at is not None and revoked.revoked_at < now:
        said = f"Key {revoked.id} ({revoked.name}) was already revoked on {revoked.revoked_at:%Y-%m-%d}"
    typer.echo(f"{said}; sessions stopped: {stopped}.", err=True)


def _record(data_dir: Path | None, action: Literal["key.create", "key.revoke"], key: ApiKey, **details: str) -> None:
    """Append to the audit log."""
    from service.observability.audit import AuditActor, AuditLog

    audit = AuditLog(read_settings(data_dir=data_dir).audit_path)
    audit.record(action, AuditActor(user=getpass.getuser()), changed_key=key.id, changed_key_name=key.name, **details)
    audit.close()


def _row(key: ApiKey) -> tuple[str, ...]:
    limits = key.limits
    return (
        key.id,
        key.name,
        "\n".join([*sorted(key.scopes), *_limit(key)]),
        f"{limits.max_sessions} sessions\n{limits.requests_per_s:g} requests/s\n{_size(limits.max_stored_bytes)}",
        f"{key.created_at:%Y-%m-%d}"
        + (f"\nexpires {key.expires_at:%Y-%m-%d}" if key.expires_at else "")
        + (f"\nrevoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else ""),
        f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never",
    )


def _limit(key: ApiKey) -> list[str]:
    return [f"only {name}={' or '.join(values)}" for name, values in (key.metadata or {}).items()]


def _size(size_bytes: int) -> str:
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.4g} {name}"
    return f"{size_bytes} bytes"


def _missing_database(settings: Settings) -> Path | None:
    """The SQLite file that the settings name, if it does not exist."""
    from service.store_url import sqlite_file

    database = sqlite_file(settings.resolved_store_url)
    return None if database is None or database.exists() else database


def _require_database(data_dir: Path | None) -> None:
    """End with one line instead of creating a database: the keys are in another folder."""
    missing = _missing_database(read_settings(data_dir=data_dir))
    if missing is not None:
        fail(f"there is no database at {missing}. Name the server's data folder with --data-dir.", FAILED)


def _in_store(data_dir: Path | None, use: Callable[[Store], Awaitable[T]]) -> T:
    """The result of `use`; a failure ends the command with one line."""
    import asyncio

    from service.errors import ServiceError
    from service.store import open_store
    from service.store_url import StoreUrlError

    settings = read_settings(data_dir=data_dir)

    async def work() -> T:
        store = open_store(settings.resolved_store_url)
        try:
            return await use(store)
        finally:
            await store.close()

    try:
        return asyncio.run(work())
    except (ServiceError, StoreUrlError) as error:
        fail(str(error), FAILED)
    except OSError as error:
        where = settings.data_dir.resolve()
        fail(f"cannot use the data folder {where}: {error.strerror}. Choose another with --data-dir.", FAILED)
