"""Problems that prevent `cake serve` and `cake worker` from starting are reported in one line."""

import socket
from pathlib import Path

import pytest

from tests.support.cake_command import run


@pytest.mark.parametrize(
    ("options", "environ", "status"),
    [
        (["--port", "99999"], {}, 2),
        (["--workers", "-1"], {}, 2),
        ([], {"CAKE_MAX_UPLOAD_BYTES": "much"}, 2),
        ([], {"CAKE_MODELS": "[]"}, 2),
        ([], {"CAKE_SOURCE_CA": "README.md"}, 2),
        ([], {"CAKE_STORE_URL": "redis+sentinel://host"}, 2),
        (["--host", "192.0.2.1"], {}, 1),
    ],
    ids=["port", "workers", "environment", "list", "no certificates", "store", "another machine's address"],
)
def test_an_invalid_setting_fails_with_one_line(
    options: list[str], environ: dict[str, str], status: int, tmp_path: Path
) -> None:
    got, out, err = run("serve", "--data-dir", str(tmp_path), *options, **environ)
    assert (got, out, err.count("\n")) == (status, "", 1)
    assert err.startswith("cake: ")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"CAKE_MODELS": "mocap", "CAKE_DEFAULT_MODEL": "nosuch"},
            "CAKE_DEFAULT_MODEL=nosuch is not one of CAKE_MODELS=mocap",
        ),
        (
            {"CAKE_DEFAULT_MODEL": "nosuch"},
            "CAKE_DEFAULT_MODEL=nosuch is not one of the shipped models: fight, mocap, people.",
        ),
        ({"CAKE_MODELS": "mocap,nosuch"}, "CAKE_MODELS: no model 'nosuch'"),
        ({"CAKE_MODELS": "mocap,/no/such"}, "CAKE_MODELS: no model '/no/such'"),
    ],
    ids=["default not listed", "default not shipped", "unknown name", "missing folder"],
)
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_model_that_is_not_there_fails_with_one_line_at_start(
    command: str, environ: dict[str, str], expected: str, tmp_path: Path
) -> None:
    status, out, err = run(command, CAKE_DATA_DIR=str(tmp_path), CAKE_PORT="0", **environ)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"cake: {expected}")


def test_a_missing_sample_is_named(tmp_path: Path) -> None:
    status, _, err = run("serve", "--data-dir", str(tmp_path), "--sample", "no-such.mp4")
    assert status == 2
    assert "no-such.mp4" in err


@pytest.mark.parametrize("sample", [(), ("--sample",)], ids=["without sample", "shipped sample"])
def test_a_busy_port_fails_with_one_line(sample: tuple[str, ...], tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        status, out, err = run("serve", "--data-dir", str(tmp_path), *sample, "--port", port)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert port in err


def test_a_data_folder_that_cannot_be_created_fails_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, out, err = run("serve", "--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert (status, out, err.count("\n")) == (1, "", 1)
