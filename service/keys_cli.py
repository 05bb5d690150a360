"""`cake keys`: make, list and revoke API keys in the store, whether the server runs or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table

from service.access.scopes import Scope
from service.terminal import FAILED, fail, read_settings

if TYPE_CHECKING:
    from service.access.keys import ApiKey
    from service.store.base import Store

T = TypeVar("T")

keys_app = typer.Typer(no_args_is_help=True, help="API keys: make, list and revoke them.")
DataDir = Annotated[Path | None, typer.Option(help="Folder of the database.", show_default="data")]


@keys_app.command()
def create(
    name: Annotated[str, typer.Option(help="A name for people: who or what uses the key.")],
    scope: Annotated[list[Scope], typer.Option(help="What the key allows; may be repeated.")],
    max_sessions: Annotated[
        int | None, typer.Option(min=0, help="Sessions at a time.", show_default="CAKE_KEY_MAX_SESSIONS")
    ] = None,
    requests_per_s: Annotated[
        float | None,
        typer.Option(help="Requests per second to each server.", show_default="CAKE_KEY_REQUESTS_PER_S"),
    ] = None,
    max_stored_bytes: Annotated[
        int | None, typer.Option(min=0, help="Bytes of all its uploads.", show_default="CAKE_KEY_MAX_STORED_BYTES")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept. From the first key on the server asks for keys."""
    from pydantic import ValidationError

    from service.access.keys import new_key
    from service.settings import Settings

    chosen = {
        "key_max_sessions": max_sessions,
        "key_requests_per_s": requests_per_s,
        "key_max_stored_bytes": max_stored_bytes,
    }
    try:
        limits = Settings.model_validate({k: v for k, v in chosen.items() if v is not None}).key_limits
        shown, key = new_key(name, scope, limits, created_at=datetime.now(UTC))
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"{first['loc'][0]}: {first['msg']}", FAILED)
    _in_store(data_dir, lambda store: store.create_key(key))
    typer.echo(f"Key {key.id}, named {key.name}. Keep it safe: it is not shown again.", err=True)
    typer.echo(shown)


@keys_app.command("list")
def list_keys(data_dir: DataDir = None) -> None:
    """Show all keys, without their secrets."""
    table = Table(Column("id", no_wrap=True), "name", Column("scopes", no_wrap=True), "limits", "since")
    for key in _in_store(data_dir, lambda store: store.list_keys()):
        table.add_row(*_row(key))
    Console(markup=False).print(table)


@keys_app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID|NAME", help="The key's id or name.")], data_dir: DataDir = None
) -> None:
    """Refuse a key from now on. Its sessions stay, for keys of the scope admin."""
    revoked = _in_store(data_dir, lambda store: store.revoke_key(key, now=datetime.now(UTC)))
    typer.echo(f"Key {revoked.id}, named {revoked.name}, is revoked.", err=True)


def _row(key: ApiKey) -> tuple[str, ...]:
    limits = key.limits
    return (
        key.id,
        key.name,
        "\n".join(sorted(key.scopes)),
        f"{limits.max_sessions} sessions\n{limits.requests_per_s:g} requests/s\n{limits.max_stored_bytes} bytes",
        f"{key.created_at:%Y-%m-%d}" + (f"\nrevoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else ""),
    )


def _in_store(data_dir: Path | None, use: Callable[[Store], Awaitable[T]]) -> T:
    """What `use` returns; its failure ends the command with one line."""
    from service.errors import ServiceError
    from service.store import open_store

    settings = read_settings(data_dir=data_dir)

    async def work() -> T:
        store = open_store(settings.resolved_store_url)
        try:
            return await use(store)
        finally:
            await store.close()

    try:
        return asyncio.run(work())
    except (ServiceError, ValueError) as error:
        fail(str(error), FAILED)
    except OSError as error:
        fail(f"cannot use the data folder {settings.data_dir}: {error.strerror}. Choose another.", FAILED)
