"""Programs that tests need in addition to Python packages. Without one, a test is skipped, or fails under CI."""

import os
import shutil
import subprocess
from functools import cache
from typing import NoReturn

import pytest

# Debian installs servers in /usr/sbin, which is not on every PATH.
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
_GSTREAMER = "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('Gst', '1.0')"
SYSTEM_PYTHON = "/usr/bin/python3"


def require_command(name: str) -> str:
    """The path of a program. Skips the test without it; with CI=true, fails it."""
    return shutil.which(name, path=SEARCHED) or _missing(name)


def require_chromium() -> str:
    return next(filter(None, map(shutil.which, _CHROMIUM_NAMES)), None) or _missing("chromium")


def require_gstreamer() -> None:
    """The bindings of GStreamer's RTSP server come with the system's Python."""
    if not _has_gstreamer():
        _missing("GStreamer's RTSP server for Python (gir1.2-gst-rtsp-server-1.0)")


@cache
def _has_gstreamer() -> bool:
    if not shutil.which(SYSTEM_PYTHON):
        return False
    return subprocess.run([SYSTEM_PYTHON, "-I", "-c", _GSTREAMER], check=False, capture_output=True).returncode == 0


def _missing(name: str) -> NoReturn:
    reason = f"{name} is not installed; `make system-packages` lists what the tests use"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
