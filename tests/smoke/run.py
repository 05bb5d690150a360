"""Install CAKE from the lock files on each supported Python version that this machine has, and use it: `make smoke`.

Each version gets a new virtual environment without PyTorch. In it, the reader and the decoder process decode the sample
video, `cake detect` analyses it, and `cake serve` detects an action in it. With --full, each environment then gets what
training needs, with PyTorch, and exports a model.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.paths import PEOPLE, ROOT

HERE = Path(__file__).parent
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
# Half of the time is spent on one core, or on the disk.
AT_ONCE = 2
UV = Path(sys.executable).with_name("uv")
# The installed package is under test, with its default settings.
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("CAKE_")}


class SmokeError(Exception):
    """A command failed; the message holds its output."""


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def supported_versions() -> list[str]:
    """The Python versions that have a lock file, oldest first."""
    names = [path.name.removeprefix("py").removesuffix(".lock") for path in ROOT.glob("requirements/py*.lock")]
    return sorted((name for name in names if "-" not in name), key=lambda name: int(name.partition(".")[2]))


def find_python(version: str) -> Path | None:
    """An interpreter of this version: the running one, one on the PATH, or one of pyenv's."""
    for candidate in _candidates(version):
        # A shim of pyenv exists for versions that are not enabled, and fails.
        asked = subprocess.run([candidate, "-c", "import venv"], capture_output=True, env=ENVIRON)
        if asked.returncode == 0:
            return candidate
    return None


def _candidates(version: str) -> Iterator[Path]:
    if version == RUNNING:
        yield Path(sys.executable)
    if on_path := shutil.which(f"python{version}"):
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end and return its output. Raises SmokeError."""
    ended = subprocess.run(command, cwd=cwd, env=ENVIRON, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SmokeError(
            f"exit status {ended.returncode} of {' '.join(map(str, command))}\n{ended.stdout}{ended.stderr}"
        )
    return ended.stdout


def build_wheel(folder: Path) -> Path:
    """The project as a user installs it, built from a copy, since setuptools writes into the tree."""
    copy = folder / "source"
    for package in ("model", "service", "examples/client"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, copy, cwd=folder)
    [wheel] = folder.glob("*.whl")
    return wheel


def check(version: str, wheel: Path, folder: Path, *, full: bool, torch_index: str | None) -> str:
    """Install into a new environment and use it; returns what works. Raises SmokeError."""
    python = find_python(version)
    if python is None:
        return f"NOT CHECKED, because this machine has no python{version}"
    began_s = time.monotonic()
    run(UV, "venv", "--python", python, folder, cwd=folder.parent)
    installed = folder / "bin" / "python"
    lock = ROOT / "requirements" / f"py{version}.lock"
    install = (UV, "pip", "install", "--python", installed)
    run(*install, "--require-hashes", "--no-deps", "-r", lock, cwd=folder)
    run(*install, "--no-deps", wheel, cwd=folder)
    run(UV, "pip", "check", "--python", installed, cwd=folder)
    seen = [
        f"installed in {time.monotonic() - began_s:.0f} s",
        run(installed, HERE / "decode_sample.py", PEOPLE, cwd=folder),
    ]
    cake = folder / "bin" / "cake"
    found = run(cake, "detect", PEOPLE, cwd=folder).count("  start  ")
    if not found:
        raise SmokeError("cake detect found no start in the sample video")
    seen.append(f"cake detect: {found} starts")
    seen.append(run(installed, HERE / "serve_sample.py", PEOPLE, cwd=folder))
    if full:
        training_lock = lock.with_name(f"py{version}-train.lock")
        run(*install, "--require-hashes", "--no-deps", "-r", training_lock, cwd=folder)
        # The locks leave PyTorch out: this adds it.
        pip = (sys.executable, "-m", "pip", "--python", installed, "install")
        run(*pip, *(["--extra-index-url", torch_index] if torch_index else []), f"{wheel}[train]", cwd=folder)
        run(UV, "pip", "check", "--python", installed, cwd=folder)
        seen.append(run(cake, "models", "export", "mocap", "--out", folder / "graphs", cwd=folder))
    else:
        seen.append("left out, and included in `make smoke`: PyTorch")
    return "; ".join(line.strip() for line in seen)


def main() -> None:
    """Exit status 1: a version failed. A version that is not on this machine is reported, and is not a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also install PyTorch and export a model with it")
    parser.add_argument("--torch-index", help="index of PyTorch's CPU wheels")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(AT_ONCE) as pool:
        folder = Path(name)
        wheel = build_wheel(folder)
        checks = {}
        for version in supported_versions():
            options = {"full": arguments.full, "torch_index": arguments.torch_index}
            checks[version] = pool.submit(check, version, wheel, folder / version, **options)
        failed = False
        for version, running in checks.items():
            try:
                say(f"Python {version}: {running.result()}")
            except SmokeError as error:
                failed = True
                say(f"Python {version}: FAILED, {error}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
