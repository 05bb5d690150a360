"""Roles: the file that lists them, and which one a person has."""

import json
from pathlib import Path

import pytest

from service.access.keys import Limits
from service.access.scopes import Scope
from service.identity.roles import RolesUnusableError, read_roles, role_of

ADMINS = {"groups": ["admins"], "scopes": ["admin"]}
GUARDS = {"groups": ["guards", "night"], "scopes": ["events:read"], "max_sessions": 0}
LIMITS = Limits(max_sessions=3, requests_per_s=10, max_stored_bytes=100)


def written(path: Path, roles: object) -> Path:
    path.write_text(json.dumps(roles))
    return path


def test_the_first_role_that_fits_is_the_persons(tmp_path: Path) -> None:
    roles = read_roles(written(tmp_path / "roles.json", [ADMINS, GUARDS]))
    for groups, scope in (({"night"}, Scope.EVENTS_READ), ({"guards", "admins"}, Scope.ADMIN)):
        role = role_of(groups, roles)
        assert role is not None
        assert role.scopes == {scope}
    assert role_of(set(), roles) is None
    assert role_of({"Admins", "guard", "*"}, roles) is None


def test_a_role_for_anyone_fits_people_without_groups(tmp_path: Path) -> None:
    roles = read_roles(written(tmp_path / "roles.json", [ADMINS, {**GUARDS, "groups": ["*"]}]))
    role = role_of(set(), roles)
    assert role is not None
    assert role.limits(LIMITS) == LIMITS.model_copy(update={"max_sessions": 0})


@pytest.mark.parametrize(
    "roles",
    [
        [],
        {},
        [{}],
        [{**ADMINS, "scopes": ["root"]}],
        [{**ADMINS, "groups": []}],
        [{**ADMINS, "scopes": []}],
        [{**ADMINS, "extra": 1}],
        [{**ADMINS, "max_sessions": -1}],
        [{**ADMINS, "metadata": {"site": ["north"]}}],
        [{**GUARDS, "metadata": {}}],
        [{**GUARDS, "metadata": {"site": []}}],
        [{**GUARDS, "metadata": {"a site": ["north"]}}],
    ],
)
def test_a_file_that_lists_no_possible_roles_is_refused(tmp_path: Path, roles: object) -> None:
    with pytest.raises(RolesUnusableError, match="role"):
        read_roles(written(tmp_path / "roles.json", roles))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RolesUnusableError, match="No such file"):
        read_roles(tmp_path / "roles.json")
