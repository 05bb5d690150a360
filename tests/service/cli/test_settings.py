"""Settings: their descriptions for operators, and the errors for wrong values."""

import json
import re
from pathlib import Path

import pytest

from service.setting_groups.syntax import variable
from service.settings import SECTIONS, Settings
from tests.support.cake_command import run


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"CAKE_PORT": "http"}, r"CAKE_PORT=http: must be a whole number\. Example: CAKE_PORT=8000"),
        ({"CAKE_LOG_LEVEL": "verbose"}, r"CAKE_LOG_LEVEL=VERBOSE: .*'WARNING'.* Example: CAKE_LOG_LEVEL=INFO"),
        ({"CAKE_MODELS": '["mocap"]'}, r"CAKE_MODELS=.*separated by commas.* Example: CAKE_MODELS=people,"),
        ({"CAKE_SOURCE_ALLOW": "10.0.0.0/8,cam"}, r"CAKE_SOURCE_ALLOW, item 2 \(cam\): .* Example: CAKE_SOURCE_ALLOW="),
        (
            {"CAKE_CLIPS_KEEP_OF_S": "fall"},
            r"CAKE_CLIPS_KEEP_OF_S=fall: .* Example: CAKE_CLIPS_KEEP_OF_S=fall=2592000,",
        ),
        ({"CAKE_CLIPS_KEEP_OF_S": "fall=-1"}, r"CAKE_CLIPS_KEEP_OF_S.*-1.* Example: CAKE_CLIPS_KEEP_OF_S=fall="),
        ({"CAKE_PRECISION": "int8"}, r"CAKE_PRECISION=int8: .*'float32'"),
        ({"CAKE_KEEP_ENDED_S": "1e12"}, r"CAKE_KEEP_ENDED_S=1e12: .*at most 3153600000"),
        ({"CAKE_CLIPS_KEEP_S": "1e12"}, r"CAKE_CLIPS_KEEP_S=1e12: .*at most 3153600000"),
        ({"CAKE_SOURCE_CA": "README.md"}, r"CAKE_SOURCE_CA=README.md: no certificates"),
    ],
    ids=[
        "integer",
        "level",
        "JSON list",
        "item of a list",
        "no age",
        "negative age",
        "choice",
        "age",
        "age of clips",
        "file",
    ],
)
def test_an_invalid_setting_names_the_variable_the_value_and_an_example(environ: dict[str, str], expected: str) -> None:
    status, out, err = run("settings", **environ)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"cake: {expected}", err), err


def test_an_invalid_option_names_the_option_not_the_variable() -> None:
    status, _, err = run("serve", "--port", "99999")
    assert status == 2
    assert re.match(r"cake: --port 99999: .* Example: --port 8000\n", err), err


@pytest.mark.parametrize(("wrong", "right"), [("CAKE_MODEL", "CAKE_MODELS"), ("CAKE_DATADIR", "CAKE_DATA_DIR")])
def test_a_misspelt_variable_is_reported_with_the_similar_one(wrong: str, right: str) -> None:
    status, _, err = run("settings", **{wrong: "x"})
    assert status == 0
    assert err == f"cake: warning: unknown setting {wrong}; did you mean {right}?\n"


@pytest.mark.parametrize("name", ["CAKE_KEY", "CAKE_WEBHOOK_SECRET"])
def test_a_variable_of_the_examples_is_not_reported(name: str) -> None:
    assert run("settings", **{name: "x"})[::2] == (0, "")


def test_levels_of_the_log_may_be_written_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAKE_LOG_LEVEL", "warning")
    assert Settings().log_level == "WARNING"


def write_roles(folder: Path) -> Path:
    """A file with one role."""
    path = folder / "roles.json"
    path.write_text(json.dumps([{"groups": ["guards"], "scopes": ["sessions:read"]}]))
    return path


def test_every_list_setting_is_separated_by_commas(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lists = {name: field for name, field in Settings.model_fields.items() if isinstance(field.default, tuple)}
    assert {"models", "source_allow", "allowed_origins"} <= lists.keys()
    for name, field in lists.items():
        assert field.examples
        monkeypatch.setenv(variable(name), field.examples[0].replace(",", " , "))
    monkeypatch.setenv("CAKE_ROLES", str(write_roles(tmp_path)))
    settings = Settings()
    for name, field in lists.items():
        assert field.examples
        assert [str(item) for item in getattr(settings, name)] == field.examples[0].split(","), name
        assert settings.environ()[variable(name)] == field.examples[0]


def test_ages_by_label_reach_a_child_process_as_they_were_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAKE_CLIPS_KEEP_OF_S", "fall=2592000, a=b=60,")
    settings = Settings()
    assert settings.clips_keep_of_s == {"fall": 2592000.0, "a=b": 60.0}
    monkeypatch.setenv("CAKE_CLIPS_KEEP_OF_S", settings.environ()["CAKE_CLIPS_KEEP_OF_S"])
    assert Settings().clips_keep_of_s == settings.clips_keep_of_s


def test_the_settings_command_prints_every_setting_and_hides_passwords() -> None:
    status, out, _ = run("settings", CAKE_STORE_URL="redis://user:hunter2@host/0", COLUMNS="80")
    assert status == 0
    assert all(out.count(f"  {variable(name)}=") == 1 for name in Settings.model_fields)
    assert "  CAKE_STORE_URL=redis://host/0  (set)\n" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "hunter2" not in out


def test_every_setting_has_a_description_and_an_example_that_it_accepts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, field in ((name, field) for group in SECTIONS.values() for name, field in group.model_fields.items()):
        assert field.description, name
        assert field.examples, name
        if name != "source_ca":
            monkeypatch.setenv(variable(name), str(write_roles(tmp_path)) if name == "roles" else field.examples[0])
        if name != "oidc_issuer":  # which is accepted together with the next setting
            Settings()
