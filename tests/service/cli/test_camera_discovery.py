"""`cake cameras discover` against ONVIF devices of our own."""

import csv
import io
import socket
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from service.cli.cameras import read_cameras
from tests.support.cake_command import Done, run
from tests.support.onvif_device import OnvifServer, Stream, onvif_device

STREAMS = (Stream("main", 2560, 1440), Stream("sub", 640, 360), Stream("tiny", 160, 90))


def discover(device: OnvifServer, *options: object, password: str = "p@ss/word") -> Done:
    probe = f"127.0.0.1:{device.probe_port}"
    return run("cameras", "discover", "--probe", probe, "--within-s", 2, *options, CAKE_CAMERA_PASSWORD=password)


@pytest.mark.parametrize("auth", ["token", "http"])
def test_a_list_for_start_has_the_stream_that_suits_the_model(tmp_path: Path, auth: Literal["token", "http"]) -> None:
    with onvif_device(OnvifServer(STREAMS, auth=auth, ahead=timedelta(hours=-5))) as device:
        status, out, err = discover(device, "--user", "admin", "--csv")
    assert (status, err) == (0, "")
    (tmp_path / "cameras.csv").write_text(out)
    [camera] = read_cameras(tmp_path / "cameras.csv")
    assert camera.name == "Hall & Door"
    assert camera.url == "rtsp://admin:p%40ss%2Fword@127.0.0.1:8554/sub?unicast=true&proto=Onvif"
    assert not any(b"p@ss" in request for request in device.requests)


def test_the_table_shows_no_password_and_options_choose_another_stream() -> None:
    with onvif_device(OnvifServer(STREAMS, auth="none")) as device:
        status, out, err = discover(device, "--user", "admin", "--least-side", 720)
    assert (status, err) == (0, "")
    [row] = [line for line in out.splitlines() if "Hall & Door" in line]
    for value in ("main", "2560x1440", "25", "H264", "rtsp://127.0.0.1:8554/main"):
        assert value in row
    assert "p@ss" not in out
    assert "p%40ss" not in out


def test_each_channel_of_a_recorder_has_its_own_name() -> None:
    streams = tuple(Stream(f"channel{n}", 640, 360, source=f"s{n}") for n in (1, 2))
    with onvif_device(OnvifServer(streams, auth="none", name="Recorder")) as device:
        _, out, _ = discover(device, "--csv")
    assert [row["name"] for row in csv.DictReader(io.StringIO(out))] == ["Recorder 1", "Recorder 2"]


def test_a_device_that_cannot_be_asked_is_named_with_the_reason() -> None:
    with onvif_device(OnvifServer(STREAMS)) as device:
        without = discover(device, "--csv")
        wrong = discover(device, "--user", "admin", password="hunter2")
        device.stream_host = "[127.0.0.1"
        faulty = discover(device, "--user", "admin")
    place = f"cake: Hall & Door ({device.url}): "
    assert without == (1, "name,url\n", f"{place}it requires a user and a password\n")
    assert wrong == (1, "", f"{place}it rejects this user and password\n")
    assert faulty == (1, "", f"{place}it returns an address that is not valid\n")


def test_silence_and_misuse_are_one_line() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        status, out, err = run(
            "cameras", "discover", "--probe", f"127.0.0.1:{silent.getsockname()[1]}", "--within-s", 0.2
        )
    assert (status, out) == (1, "")
    assert err.startswith("cake: no camera has answered; ")
    status, out, err = run("cameras", "discover", "--probe", "127.0.0.1:port")
    assert (status, out, err) == (2, "", "cake: --probe: expected HOST or HOST:PORT, not '127.0.0.1:port'\n")
    # An address of documentation, which no machine has.
    status, out, err = run("cameras", "discover", "--interface", "192.0.2.1", "--within-s", 0.2)
    assert (status, out) == (1, "")
    assert err.startswith("cake: the network cannot be asked: ")
