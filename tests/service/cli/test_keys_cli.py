"""`cake keys`, and `cake serve`, which accepts other machines only if it requires keys."""

import re
import sqlite3
from pathlib import Path

import httpx
import pytest

from service.access.keys import parse_key
from tests.support.cake_command import run
from tests.support.serve_command import serving


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


def test_a_key_gets_its_own_limits_and_those_of_the_settings_otherwise(tmp_path: Path) -> None:
    status, _, _ = run(
        *("keys", "create", "--name", "a", "--scope", "admin", "--max-sessions", "3", "--data-dir", tmp_path),
        CAKE_KEY_REQUESTS_PER_S="7",
    )
    assert status == 0
    out = run("keys", "list", "--data-dir", tmp_path)[1]
    assert "3 sessions" in out
    assert "7 requests/s" in out


def test_a_key_is_limited_to_metadata_unless_it_is_an_admin(tmp_path: Path) -> None:
    limit = ("--metadata", "site=north", "--metadata", "site=south", "--metadata", "floor=2")
    created(tmp_path, "--name", "guard", "--scope", "events:read", *limit)
    out = run("keys", "list", "--data-dir", tmp_path)[1]
    assert "only site=north or south" in out
    assert "only floor=2" in out
    for scope, given, said in (("admin", "site=north", "admin"), ("events:read", "site", "KEY=VALUE")):
        options = ("--name", "x", "--scope", scope, "--metadata", given, "--data-dir", tmp_path)
        status, _, err = run("keys", "create", *options)
        assert (status, err.count("\n")) == (2, 1)
        assert said in err


def test_a_revoked_key_is_listed_as_such_and_its_name_is_free(tmp_path: Path) -> None:
    options = ("--name", "yard", "--scope", "admin")
    first = created(tmp_path, *options)
    assert run("keys", "create", "--data-dir", tmp_path, *options)[0] == 1
    assert run("keys", "revoke", "yard", "--data-dir", tmp_path)[0] == 0
    assert created(tmp_path, *options) != first
    assert len(re.findall("yard", run("keys", "list", "--data-dir", tmp_path)[1])) == 2


def test_the_expiry_and_the_last_use_of_a_key_are_listed(tmp_path: Path) -> None:
    created(tmp_path, "--name", "yard", "--scope", "admin", "--expires-in-days", "2")
    out = run("keys", "list", "--data-dir", tmp_path)[1]
    assert "expires" in out
    assert "never" in out


@pytest.mark.parametrize("days", ["inf", "nan", "1e9", "-1", "40000"])
def test_an_expiry_that_cannot_be_is_rejected(tmp_path: Path, days: str) -> None:
    key = ("--name", "yard", "--scope", "admin", "--expires-in-days", days)
    status, out, err = run("keys", "create", "--data-dir", tmp_path, *key, COLUMNS="200")
    assert (status, out) == (2, "")
    assert "--expires-in-days" in err


@pytest.mark.parametrize("command", [("list",), ("revoke", "yard")])
def test_a_mistyped_folder_is_named_and_no_database_is_created(tmp_path: Path, command: tuple[str, ...]) -> None:
    status, out, err = run("keys", *command, "--data-dir", tmp_path / "other")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert str(tmp_path / "other" / "cake.db") in err
    assert not (tmp_path / "other").exists()


def test_a_key_in_a_new_database_says_that_no_server_uses_it(tmp_path: Path) -> None:
    options = ("--data-dir", tmp_path / "new", "--scope", "admin", "--name")
    assert f"in {tmp_path / 'new' / 'cake.db'}, a new database" in run("keys", "create", *options, "first")[2]
    assert "new database" not in run("keys", "create", *options, "second")[2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("create", "--name", "", "--scope", "admin"), 2),
        (("create", "--name", "a", "--scope", "admin", "--requests-per-s", "0"), 2),
        (("revoke", "unknown"), 1),
    ],
    ids=["empty name", "rate of zero", "unknown key"],
)
def test_an_invalid_command_fails_with_one_line(tmp_path: Path, arguments: tuple[str, ...], expected: int) -> None:
    created(tmp_path, "--name", "yard", "--scope", "admin")
    status, out, err = run("keys", *arguments, "--data-dir", tmp_path)
    assert (status, out, err.count("\n")) == (expected, "", 1)
    assert err.startswith("cake: ")


def test_revoking_a_key_again_says_when_it_was_revoked(tmp_path: Path) -> None:
    created(tmp_path, "--name", "door", "--scope", "admin")
    assert "Revoked key" in run("keys", "revoke", "door", "--data-dir", tmp_path)[2]
    status, _, err = run("keys", "revoke", "door", "--data-dir", tmp_path)
    assert status == 0
    assert re.match(r"Key \w{16} \(door\) was already revoked on \d{4}-\d\d-\d\d; sessions stopped: 0\.\n", err), err


@pytest.mark.parametrize("command", [("keys", "list"), ("store", "check"), ("serve", "--port", "0")])
@pytest.mark.parametrize("database", ["newer", "damaged"])
def test_a_database_that_cannot_be_used_fails_with_one_line(
    tmp_path: Path, command: tuple[str, ...], database: str
) -> None:
    if database == "newer":
        db = sqlite3.connect(tmp_path / "cake.db")
        db.execute("PRAGMA user_version=999")
        db.close()
    else:
        (tmp_path / "cake.db").write_bytes(b"not a database " * 1000)
    status, out, err = run(*command, "--data-dir", tmp_path)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert {"newer": "newer CAKE", "damaged": "damaged"}[database] in err


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_not_served_without_a_key(tmp_path: Path, host: str) -> None:
    status, out, err = run("serve", "--host", host, "--port", "0", "--data-dir", tmp_path)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "cake keys create" in err
    assert "CAKE_AUTH=off" in err


def test_other_machines_are_served_once_there_is_a_key(tmp_path: Path) -> None:
    key = created(tmp_path / "data", "--name", "a", "--scope", "sessions:read")
    with serving(tmp_path / "data", "--host", "0.0.0.0", "--workers", "0") as served:
        assert httpx.get(f"{served.url}/v1/sessions", timeout=120).status_code == 401
        answer = httpx.get(f"{served.url}/v1/sessions", headers={"Authorization": f"Bearer {key}"}, timeout=120)
        assert answer.status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(("auth", "status"), [("off", 200), ("required", 401)])
def test_other_machines_are_served_without_a_key_if_configured(tmp_path: Path, auth: str, status: int) -> None:
    with serving(tmp_path / "data", "--host", "0.0.0.0", "--workers", "0", CAKE_AUTH=auth) as served:
        assert httpx.get(f"{served.url}/v1/sessions", timeout=120).status_code == status
