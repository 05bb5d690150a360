"""`cake keys`, and `cake serve` that listens to other machines only when it asks for keys."""

import re
import sqlite3
from pathlib import Path

import httpx
import pytest
from cake_command import run
from test_cli import serving

from service.access.keys import parse_key


def created(data_dir: Path, *options: str) -> str:
    status, out, err = run("keys", "create", "--data-dir", data_dir, *options)
    assert (status, err.count("\n")) == (0, 1)
    return out.strip()


def test_a_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    key = created(tmp_path, "--name", "yard", "--scope", "sessions:read", "--scope", "events:read")
    credential = parse_key(key)
    assert credential is not None
    status, out, _ = run("keys", "list", "--data-dir", tmp_path)
    assert status == 0
    for shown in (credential.id, "yard", "sessions:read", "events:read"):
        assert shown in out
    assert credential.secret not in out
    assert all(credential.secret.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_key_gets_the_limits_that_it_is_given_and_the_settings_for_the_rest(tmp_path: Path) -> None:
    status, _, _ = run(
        *("keys", "create", "--name", "a", "--scope", "admin", "--max-sessions", "3", "--data-dir", tmp_path),
        CAKE_KEY_REQUESTS_PER_S="7",
    )
    assert status == 0
    out = run("keys", "list", "--data-dir", tmp_path)[1]
    assert "3 sessions" in out
    assert "7 requests/s" in out


def test_a_revoked_key_is_listed_as_such_and_its_name_is_free(tmp_path: Path) -> None:
    options = ("--name", "yard", "--scope", "admin")
    first = created(tmp_path, *options)
    assert run("keys", "create", "--data-dir", tmp_path, *options)[0] == 1
    assert run("keys", "revoke", "yard", "--data-dir", tmp_path)[0] == 0
    assert created(tmp_path, *options) != first
    assert len(re.findall("yard", run("keys", "list", "--data-dir", tmp_path)[1])) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--name", "", "--scope", "admin"),
        ("create", "--name", "a", "--scope", "admin", "--requests-per-s", "0"),
        ("revoke", "nobody"),
    ],
)
def test_what_cannot_be_gives_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    status, out, err = run("keys", *arguments, "--data-dir", tmp_path)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("cake: ")


def test_a_database_of_a_newer_version_gives_one_line(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "cake.db")
    db.execute("PRAGMA user_version=999")
    db.close()
    status, _, err = run("keys", "list", "--data-dir", tmp_path)
    assert (status, err.count("\n")) == (1, 1)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_not_served_without_a_key(tmp_path: Path, host: str) -> None:
    status, out, err = run("serve", "--host", host, "--port", "0", "--data-dir", tmp_path)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "cake keys create" in err
    assert "CAKE_AUTH=off" in err


def test_other_machines_are_served_once_there_is_a_key(tmp_path: Path) -> None:
    key = created(tmp_path / "data", "--name", "a", "--scope", "sessions:read")
    with serving(tmp_path / "data", "--host", "0.0.0.0", "--workers", "0") as served:
        assert httpx.get(f"{served.url}/v1/sessions").status_code == 401
        answer = httpx.get(f"{served.url}/v1/sessions", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200


@pytest.mark.parametrize(("auth", "status"), [("off", 200), ("required", 401)])
def test_other_machines_are_served_without_a_key_when_that_was_said(tmp_path: Path, auth: str, status: int) -> None:
    with serving(tmp_path / "data", "--host", "0.0.0.0", "--workers", "0", CAKE_AUTH=auth) as served:
        assert httpx.get(f"{served.url}/v1/sessions").status_code == status
