"""Support for the tests of the page: the whole application in a child process, and tabs of a real browser."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import av
import httpx
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from model.checkpoints.folders import find_checkpoint
from model.checkpoints.stored import read_config
from service.schemas import Session
from tests.support.commands import require_chromium
from tests.support.paths import ROOT

SAMPLE = ROOT / "samples" / "mocap.mp4"
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 120_000
START_PATIENCE_S = 180
SIZES = {"phone": (360, 740), "tablet": (768, 1024), "wide": (1440, 900)}


@contextmanager
def served(data_dir: Path, port: int, models: str = "mocap", environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """`cake serve` in a child process, ready; it and its workers are gone afterwards.

    `mocap` sees an action every few seconds of `SAMPLE`.
    """
    settings = {
        "CAKE_SOURCE_ALLOW": "127.0.0.0/8",
        # Each model takes half a second of processor time to compile.
        "CAKE_MODELS": models,
        "CAKE_LOG_LEVEL": "WARNING",
        # Not measured: a busy machine must not make the server refuse sessions.
        "CAKE_WORKER_CAPACITY_STEPS_PER_S": "100",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli.main", "serve", "--port", str(port), "--data-dir", str(data_dir)],
        cwd=ROOT,
        env={**os.environ, **settings, **(environ or {})},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(process, url)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline_s = time.monotonic() + START_PATIENCE_S
    while time.monotonic() < deadline_s:
        assert process.poll() is None, "the server ended"
        try:
            if httpx.get(f"{url}/readyz", timeout=120).status_code == 200:
                return
        except httpx.TransportError:
            pass
        # It may not listen yet: asking is all that one can do.
        time.sleep(0.2)
    raise AssertionError("the server is not ready in time")


def action_name(label: str) -> str:
    """What the page calls an action of `mocap`."""
    return read_config(find_checkpoint("mocap")).display_names.get(label, label)


def free_port() -> int:
    """A port that no one listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """A browser; `flags` in addition to those that every test needs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=[*CHROMIUM_FLAGS, *flags])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, *, size: str = "wide", scheme: str = "light") -> Iterator[Page]:
    """A fresh tab at `url`; no script may fail in it and nothing may break its content security policy."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    assert faults == []


def analyse(url: str, path: Path) -> Session:
    """Upload a video, and wait until all of it was analysed."""
    with path.open("rb") as video:
        answer = httpx.post(f"{url}/v1/sessions", files={"file": video}, timeout=120)
    session = Session.model_validate_json(answer.raise_for_status().content)
    # The stream ends with the session.
    events = f"{url}{session.links.events}"
    httpx.get(events, headers={"Accept": "text/event-stream"}, timeout=PATIENCE_MS / 1000).raise_for_status()
    return session


def submit(url: str, path: Path, name: str) -> Session:
    """Upload a video for a session in real time."""
    with path.open("rb") as video:
        data = {"session": json.dumps({"name": name, "pace": "realtime"})}
        answer = httpx.post(f"{url}/v1/sessions", files={"file": video}, data=data, timeout=120)
    return Session.model_validate_json(answer.raise_for_status().content)


def stop(url: str, session: Session) -> int:
    """Wait until the session has ended, and return how many actions started in it."""
    httpx.delete(f"{url}{session.links.self}", timeout=120).raise_for_status()
    # The stream ends with the session.
    answer = httpx.get(
        f"{url}{session.links.events}?type=action.start",
        headers={"Accept": "text/event-stream"},
        timeout=PATIENCE_MS / 1000,
    )
    return answer.raise_for_status().text.count("\ndata:")


def set_hidden(page: Page, hidden: bool) -> None:
    """Switch to another tab, or back."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def write_streamable(video: Path, copy: Path) -> None:
    """The same video with its index first, so that it can be read from a server that cannot skip ahead."""
    with av.open(video) as source, av.open(copy, "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


def focus_by_tab(page: Page, element_id: str) -> None:
    """Press Tab until the element has the focus, and see that this shows."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == element_id:
            outline_px = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
            assert outline_px >= 2
            return
    raise AssertionError(f"Tab never reached #{element_id}")


def shown_actions(page: Page) -> Locator:
    """One row header per action in the table of events."""
    return page.get_by_role("table", name="Events").get_by_role("rowheader")


def shown_state(page: Page) -> Locator:
    return page.locator("#session-state")
