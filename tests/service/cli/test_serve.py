"""`cake serve` from start to Ctrl-C, with and without its sample."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from service.schemas import ENDED_STATES, Session, SessionPage
from tests.support.cake_command import run
from tests.support.made_videos import write_video
from tests.support.serve_command import serving
from tests.support.tiny_model import checkpoint_for


def test_serve_prints_its_address_and_ctrl_c_stops_it_without_a_traceback(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "0") as served:
        assert httpx.get(f"{served.url}/livez", timeout=120).json() == {"status": "ok"}
        assert served.interrupt() in (0, 130)
    assert "Traceback" not in served.log.read_text()


def test_a_second_server_on_the_same_folder_fails_with_one_line(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "0"):
        status, out, err = run("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert str(tmp_path / "data") in err


@pytest.mark.slow
def test_the_sample_produces_events_and_repeats_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    """Its actions are log lines for programs, too."""
    video = write_video(tmp_path / "v.mp4", count=90)
    model = checkpoint_for(video, tmp_path)
    settings = {"CAKE_MODELS": str(model), "CAKE_DEFAULT_MODEL": "tiny"}
    with serving(tmp_path / "data", "--sample", str(video), **settings) as served:
        with httpx.Client(base_url=served.url, timeout=120) as client:
            first = wait_for_session(client, ended=True, but=None)
            second = wait_for_session(client, ended=False, but=first.id)
        processes = served.children()
        assert processes
        assert served.interrupt() in (0, 130)
    assert "Traceback" not in served.log.read_text()
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert {"label", "score", "start_s"} <= next(line for line in lines if line["event"] == "action started").keys()
    assert (first.state, first.pace, first.name) == ("completed", "realtime", "Sample: v.mp4, run 1")
    assert second.name == "Sample: v.mp4, run 2"
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


@pytest.mark.slow
def test_action_starts_of_the_sample_are_printed_for_people_and_its_requests_are_not_logged(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", count=90)
    model = checkpoint_for(video, tmp_path)
    settings = {"CAKE_MODELS": str(model), "CAKE_DEFAULT_MODEL": "tiny", "CAKE_LOG_JSON": "false"}
    with serving(tmp_path / "data", "--sample", str(video), **settings) as served:
        assert served.line() == "Ready for videos"
        assert "v.mp4" in served.line()
        starts = [served.line() for _ in range(3)]
        served.interrupt()
    assert all(re.fullmatch(r"0:0\d\.\d  (kick|punch)  \d+ %", start) for start in starts), starts
    assert "GET" not in served.log.read_text()


STARTING = """
import signal
from service.cli.interrupts import ended_by_interrupt
# A shell that starts the tests in the background lets them ignore Ctrl-C, and their children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
with ended_by_interrupt():
    print("starting", flush=True)
    import service.api.server
    import service.worker.worker
    signal.pause()
"""


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_ctrl_c_during_the_imports_ends_a_command_without_a_traceback(delay_s: float) -> None:
    command = (sys.executable, "-c", STARTING)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, err) == (-signal.SIGINT, "")


def wait_for_session(client: httpx.Client, *, ended: bool, but: str | None) -> Session:
    """The first session that has ended, or has not, and is another than `but`."""
    with connect(f"{str(client.base_url).replace('http', 'ws', 1)}/v1/events?after=0") as events:
        for _ in events:
            sessions = SessionPage.model_validate_json(client.get("/v1/sessions").content).sessions
            for session in sessions:
                if session.id != but and (session.state in ENDED_STATES) == ended:
                    return session
    raise AssertionError("the server went away")
