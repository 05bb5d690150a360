"""`cake store`: check, back up and restore what the server stores."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.terminal import FAILED, MISUSED, fail, read_settings

if TYPE_CHECKING:
    from service.settings import Settings
    from service.storage.inspection import Findings

store_app = typer.Typer(no_args_is_help=True, help="Check, back up, restore and compact stored sessions.")
DataDir = Annotated[
    Path | None,
    typer.Option(help="Data folder of the server. Default: CAKE_DATA_DIR, or `data`.", show_default=False),
]
NOT_IN_FOLDER = "this works for SQLite and a data folder. Back up Redis and the bucket with their own tools."
FOLDERS = ("uploads", "snapshots", "clips", "models")


@store_app.command()
def check(data_dir: DataDir = None) -> None:
    """Read everything in the store, and report what is damaged, unreadable or missing. The server may run."""
    import asyncio

    from service.errors import ServiceError
    from service.store.sqlite.backup import damage
    from service.store_url import sqlite_file

    settings = read_settings(data_dir=data_dir)
    database = sqlite_file(settings.resolved_store_url)
    problems = [] if database is None else damage(_existing(database))
    try:
        findings = asyncio.run(_inspect(settings))
    except ServiceError as error:
        fail(str(error), FAILED)
    problems += [f"{count} rows of kind {kind} cannot be read" for kind, count in sorted(findings.unreadable.items())]
    problems += [f"the upload of session {session_id} is missing" for session_id in findings.missing_uploads]
    problems += [f"the files of the model {key} are missing" for key in findings.missing_models]
    typer.echo(
        f"{findings.sessions} sessions, {findings.events} events, {findings.keys} keys, {findings.files} files"
        f" ({len(findings.orphaned_files)} without a session)"
    )
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(FAILED)


@store_app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="Folder to create.")],
    data_dir: DataDir = None,
) -> None:
    """Copy the database, uploads, snapshots, clips and models to a new folder. The server may run."""
    from service.store.sqlite.backup import copy_database

    settings = read_settings(data_dir=data_dir)
    database = _existing(_require_folder(settings))
    if target.exists():
        fail(f"{target} exists. Choose a new folder.", MISUSED)
    partial = target.with_name(f"{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700, parents=True)
        copy_database(database, partial / "cake.db")
        _copy_files(settings.data_dir, partial)
        partial.rename(target)
    except OSError as error:
        fail(f"cannot write the backup: {error}", FAILED)
    typer.echo(f"Wrote {target}. It contains camera passwords and webhook secrets.", err=True)


@store_app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="Folder that `cake store backup` wrote.")],
    data_dir: DataDir = None,
) -> None:
    """Copy a backup into a data folder without a database. The server must not run."""
    from service.api.data_folder import FolderInUseError, lock_folder
    from service.store.sqlite.backup import copy_database, damage

    settings = read_settings(data_dir=data_dir)
    database = _require_folder(settings)
    if problems := damage(_existing(source / "cake.db")):
        fail(f"the backup is damaged: {problems[0]}", FAILED)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock_folder(settings.data_dir):
            if database.exists():
                fail(f"{database} exists. Move it away first, with its -wal and -shm files.", MISUSED)
            # The database comes last: without it the server finds no session, and the command can be repeated.
            _copy_files(source, settings.data_dir)
            partial = database.with_name(f"{database.name}.partial")
            partial.unlink(missing_ok=True)
            copy_database(source / "cake.db", partial)
            partial.rename(database)
    except (OSError, FolderInUseError) as error:
        fail(f"cannot restore the backup: {error}", FAILED)
    typer.echo(f"Restored {source} to {settings.data_dir}.", err=True)


@store_app.command()
def compact(data_dir: DataDir = None) -> None:
    """Rewrite the database without the space that deletions left free in it. The server must not run."""
    import sqlite3

    from service.api.data_folder import FolderInUseError, lock_folder
    from service.store.sqlite.backup import compact_database

    settings = read_settings(data_dir=data_dir)
    database = _existing(_require_file(settings))
    before_bytes = database.stat().st_size
    try:
        with lock_folder(settings.data_dir):
            compact_database(database)
    except (OSError, sqlite3.Error, FolderInUseError) as error:
        fail(f"cannot compact the database: {error}", FAILED)
    typer.echo(f"{before_bytes / 1e6:.1f} MB before, {database.stat().st_size / 1e6:.1f} MB now.", err=True)


async def _inspect(settings: Settings) -> Findings:
    from service.storage.blobs import Blobs
    from service.storage.inspection import Findings, inspect
    from service.store import open_store

    findings = Findings()

    def count(kind: str) -> None:
        findings.unreadable[kind] += 1

    store = open_store(settings.resolved_store_url, count_unreadable=count)
    try:
        await inspect(store, Blobs(settings.blob_url, settings.data_dir), findings)
    finally:
        await store.close()
    return findings


def _require_folder(settings: Settings) -> Path:
    """The SQLite file of a store that is all in the data folder."""
    if settings.blob_url is not None:
        fail(NOT_IN_FOLDER, MISUSED)
    return _require_file(settings)


def _require_file(settings: Settings) -> Path:
    """The SQLite file of the store."""
    from service.store_url import sqlite_file

    database = sqlite_file(settings.resolved_store_url)
    if database is None:
        fail(NOT_IN_FOLDER, MISUSED)
    return database


def _existing(database: Path) -> Path:
    if not database.exists():
        fail(f"there is no database at {database}", FAILED)
    return database


def _copy_files(source: Path, target: Path) -> None:
    for name in FOLDERS:
        if (source / name).is_dir():
            ignored = shutil.ignore_patterns("*.part")
            copy = _copy_if_there
            shutil.copytree(source / name, target / name, dirs_exist_ok=True, ignore=ignored, copy_function=copy)


def _copy_if_there(source: str, target: str) -> None:
    """Copy a file, unless the server has deleted it since it was listed."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)
